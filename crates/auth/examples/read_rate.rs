//! Lines a second: `cargo run --release -p auth --example read_rate -- FILE [TIMES]`.

#![expect(clippy::disallowed_methods, reason = "reads a file and a clock")]

use auth::{Clock, FormatSet, Parser};
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let mut args = std::env::args().skip(1);
    let (Some(path), times) = (args.next(), args.next()) else {
        eprintln!("usage: read_rate FILE [TIMES]");
        return;
    };
    let times: usize = times.and_then(|t| t.parse().ok()).unwrap_or(100);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let clock = Clock { now_ns: 1_795_290_800_000_000_000, utc_offset_s: 0 };
    let mut parser = Parser::new(Arc::new(FormatSet::builtin()));
    let begun = Instant::now();
    let (mut lines, mut known, mut events) = (0_u64, 0_u64, 0_u64);
    for _ in 0..times {
        for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let reading = parser.line(line, None, &clock);
            lines += 1;
            known += u64::from(reading.line.is_some());
            events += u64::from(reading.event.is_some());
        }
    }
    let rate = lines as f64 / begun.elapsed().as_secs_f64();
    println!("{lines} lines, {known} recognised, {events} events, {rate:.0} lines/s");
}
