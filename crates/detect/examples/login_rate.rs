//! Lines of a log a second, read, recognised and judged on one thread, beside counting its lines:
//! `cargo run --release -p detect --example login_rate -- FILE [TIMES]`.

#![expect(clippy::disallowed_methods, reason = "reads a file and a clock")]

use auth::{Clock, FormatSet, Parser};
use detect::{Detector, RuleSet};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use wire::Addr;

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(path), times) = (args.next(), args.next()) else {
        eprintln!("usage: login_rate FILE [TIMES]");
        return;
    };
    let times: usize = times.and_then(|t| t.parse().ok()).unwrap_or(100);
    let clock = Clock { now_ns: 1_795_290_800_000_000_000, utc_offset_s: 0 };
    let mut parser = Parser::new(Arc::new(FormatSet::builtin()));
    let mut detector = Detector::new(RuleSet::builtin());
    let (mut lines, mut events, mut signals) = (0_u64, 0_u64, Vec::new());
    let begun = Instant::now();
    for _ in 0..times {
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        for line in text.split(|b| *b == b'\n') {
            lines += 1;
            if let Some(event) = parser.line(line, None, &clock).event {
                events += 1;
                // As if each line came a millisecond after the last.
                let at_ns = 1_000_000_000_000 + lines * 1_000_000;
                detector.judge_login(at_ns, &event, Addr::v4([198, 51, 100, 5]), &mut signals);
                signals.clear();
            }
        }
    }
    let judged = lines as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for _ in 0..times {
        let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        black_box(text.split(|b| *b == b'\n').count());
    }
    let counted = lines as f64 / begun.elapsed().as_secs_f64();
    println!(
        "lines {lines}\nevents {events}\njudged_per_second {judged:.0}\ncounted_per_second {counted:.0}"
    );
}
