//! The stack of the programs, by the rule of older kernels.
//!
//! Frames of all functions in a chain of calls may take 512 bytes together. How much of it a frame takes is rounded up to 16
//! bytes by kernels that are new enough, and to 32 by others: what loads on the former may be refused by the latter, which
//! no test on a new kernel would show. So the frames are measured in the object itself.

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind,
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// `MAX_BPF_STACK` of Linux.
const LIMIT: u64 = 512;
/// What frames are rounded up to, and the least of them.
const ROUND: u64 = 32;

/// Operation codes of the instruction set (RFC 9669): `dst = src`, `dst += imm`, a call, and the class of loads and stores.
const MOVE: u8 = 0xbf;
const ADD_IMM: u8 = 0x07;
const CALL: u8 = 0x85;
const FRAME_POINTER: u8 = 10;
/// `src` of a call to a function of the program.
const PSEUDO_CALL: u8 = 1;

/// Section and offset in it.
type Place = (SectionIndex, u64);

#[derive(Default)]
struct Function {
    name: String,
    frame: u64,
    calls: HashSet<Place>,
}

fn functions(object: &[u8]) -> HashMap<Place, Function> {
    let file = object::File::parse(object).expect("an ELF object");
    let mut functions = HashMap::new();
    for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text && s.size() > 0) {
        let index = symbol.section_index().expect("a section");
        let section = file.section_by_index(index).expect("its section");
        let relocated: BTreeMap<u64, RelocationTarget> =
            section.relocations().map(|(at, relocation)| (at, relocation.target())).collect();
        let code = section.data_range(symbol.address(), symbol.size()).expect("code").expect("inside");
        let mut function =
            Function { name: symbol.name().expect("a name").to_owned(), ..Function::default() };
        let mut address_in = None;
        for (insn, at) in code.chunks_exact(8).zip((symbol.address()..).step_by(8)) {
            let (code, dst, src) = (insn[0], insn[1] & 0xf, insn[1] >> 4);
            let offset = i64::from(i16::from_le_bytes([insn[2], insn[3]]));
            let imm = i64::from(i32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]]));
            let reached = match code & 7 {
                // LDX; ST and STX.
                1 if src == FRAME_POINTER => offset,
                2 | 3 if dst == FRAME_POINTER => offset,
                _ if code == ADD_IMM && address_in == Some(dst) => imm,
                _ => 0,
            };
            function.frame = function.frame.max(u64::try_from(-reached).unwrap_or(0));
            address_in = (code == MOVE && src == FRAME_POINTER).then_some(dst);
            if code == CALL && src == PSEUDO_CALL {
                let behind = |from: u64| from.checked_add_signed((imm + 1) * 8).expect("inside");
                function.calls.insert(match relocated.get(&at) {
                    None => (index, behind(at)),
                    Some(RelocationTarget::Symbol(to)) => {
                        let to = file.symbol_by_index(*to).expect("a symbol");
                        let section = to.section_index().expect("its section");
                        let within = if to.kind() == SymbolKind::Section { behind(0) } else { to.address() };
                        (section, within)
                    }
                    Some(other) => panic!("a call to {other:?}"),
                });
            }
        }
        functions.insert((index, symbol.address()), function);
    }
    functions
}

/// The most that a function and what it calls take, and the chain of names.
fn deepest(functions: &HashMap<Place, Function>, at: Place) -> (u64, String) {
    let function = functions.get(&at).expect("a function");
    let own = function.frame.max(1).next_multiple_of(ROUND);
    let called = function.calls.iter().map(|to| deepest(functions, *to)).max();
    called.map_or((own, format!("{} {own}", function.name)), |(bytes, chain)| {
        (own + bytes, format!("{} {own}, {chain}", function.name))
    })
}

#[test]
fn every_chain_of_calls_fits_the_stack_of_older_kernels() {
    let functions = functions(kernel::object::SENSOR);
    let programs = ["sensor_xdp", "sensor_tc_ingress", "sensor_tc_egress"];
    let mut seen = 0;
    for (at, function) in &functions {
        let (bytes, chain) = deepest(&functions, *at);
        if programs.contains(&function.name.as_str()) {
            seen += 1;
            println!("{bytes} bytes: {chain}");
        }
        assert!(bytes <= LIMIT, "{bytes} bytes: {chain}");
    }
    assert_eq!(seen, programs.len());
    assert!(functions.values().any(|f| f.frame > 100 && !f.calls.is_empty()), "frames and calls are found");
}
