//! Small helpers for output that people read.

use std::fmt::Write as _;

/// Rows as left-aligned columns two spaces apart; the last column is not padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (c, cell) in row.iter().enumerate() {
            if c + 1 == row.len() {
                out.push_str(cell);
            } else {
                let pad = widths[c] + 2 - cell.chars().count();
                out.push_str(cell);
                out.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.push('\n');
    }
    out
}

/// A span such as `1h 5m` or `42s`, two units at most.
pub fn span(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    let (d, h, m) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, m) => format!("{m}m {}s", s % 60),
        (0, h, m) => format!("{h}h {m}m"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

/// A count with an SI prefix, three digits.
pub fn si(n: f64) -> String {
    let mut n = n;
    for prefix in ["", "k", "M", "G", "T"] {
        if n < 999.5 || prefix == "T" {
            let mut out = String::new();
            let digits = usize::from(n < 99.95 && n.fract() != 0.0);
            let _ = write!(out, "{n:.digits$}{prefix}");
            return out;
        }
        n /= 1000.0;
    }
    String::new()
}

/// A number for people: no decimals when whole, two otherwise.
pub fn number(n: f64) -> String {
    if n.fract() == 0.0 && n.abs() < 1e15 { format!("{n:.0}") } else { format!("{n:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_counts_read_well() {
        for (seconds, text) in
            [(0.4, "0s"), (59.6, "1m 0s"), (61.0, "1m 1s"), (3_700.0, "1h 1m"), (90_000.0, "1d 1h")]
        {
            assert_eq!(span(seconds), text);
        }
        for (n, text) in [(0.0, "0"), (12.3, "12.3"), (999.0, "999"), (1200.0, "1.2k"), (3_000_000.0, "3M")] {
            assert_eq!(si(n), text);
        }
        assert_eq!(
            table(&[vec!["a".into(), "b".into()], vec!["ccc".into(), "d".into()]]),
            "a    b\nccc  d\n"
        );
    }
}
