//! What the verifier has to look at to accept the programs, against the record in `bpf/budget.toml`.
//!
//! A program that the verifier finds more than five per cent harder than recorded may be one that older kernels, which
//! prune less, refuse. `cargo xtask bpf` builds the object and then runs this test to write the record anew, so that a
//! growth is seen in the change that makes it. Kernels differ a little in their counts; the record names its own.

use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfError};
use kernel::abi::program;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Growth that needs no new record, per cent.
const TOLERANCE: u32 = 5;
/// Set by `cargo xtask bpf`: write the record instead of comparing with it.
const UPDATE: &str = "AUTOINMUNE_BUDGET_UPDATE";

/// Instructions the verifier has processed, by program; `None` without the rights to load.
fn counts() -> Option<BTreeMap<&'static str, u32>> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: loading programs needs root");
        return None;
    }
    let mut ebpf = match Ebpf::load(kernel::object::SENSOR) {
        Ok(ebpf) => ebpf,
        Err(EbpfError::MapError(error)) => {
            println!("skipped: this host lets us make no maps ({error})");
            return None;
        }
        Err(error) => panic!("the object does not load: {error:?}"),
    };
    let mut counts = BTreeMap::new();
    for name in [program::XDP, program::TC_INGRESS, program::TC_EGRESS] {
        let found = ebpf.program_mut(name).expect("a program of this name");
        let info = load(found).and_then(|()| found.info());
        let info = info.unwrap_or_else(|error| panic!("the verifier refuses {name}: {error:?}"));
        let Some(count) = info.verified_instruction_count() else {
            println!("skipped: this kernel does not tell (before 5.16)");
            return None;
        };
        counts.insert(name, count);
    }
    Some(counts)
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(p) => p.load(),
        Program::SchedClassifier(p) => p.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// The record: `name = count` per line.
fn record(text: &str) -> BTreeMap<String, u32> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, count)| (name.trim().to_owned(), count.trim().parse().expect("a number")))
        .collect()
}

#[test]
fn programs_are_within_their_recorded_instruction_budget() {
    let Some(counts) = counts() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf/budget.toml");
    if std::env::var_os(UPDATE).is_some() {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut text = format!(
            "# Instructions the verifier processes per program, on Linux {release}.\n# Written by `cargo xtask bpf`; \
             tests/budget.rs fails when one grows by more than {TOLERANCE} % without this record.\n"
        );
        for (name, count) in &counts {
            writeln!(text, "{name} = {count}").expect("a string");
        }
        std::fs::write(&path, text).expect("write the record");
        return;
    }
    let recorded = record(&std::fs::read_to_string(&path).expect("the record"));
    assert_eq!(recorded.len(), counts.len());
    for (name, count) in counts {
        let before = recorded.get(name).copied().unwrap_or_else(|| panic!("{name} is not in the record"));
        let most = u64::from(before) * u64::from(100 + TOLERANCE) / 100;
        println!("{name}: {count} instructions verified, {before} recorded");
        assert!(
            u64::from(count) <= most,
            "{name}: {count} instructions verified, {before} recorded; if it must be, run `cargo xtask bpf`"
        );
    }
}
