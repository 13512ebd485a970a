//! Suggestions for misspelt names.

/// The candidate nearest to `name` by edit distance, if it is near enough to be a slip: at most a third of its length.
pub(crate) fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|c| (distance(name, c), c))
        .filter(|(d, c)| *d * 3 <= c.len().max(3))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// "unknown KIND `name`" with a suggestion, or with all candidates where none is near.
pub(crate) fn unknown<'a>(
    kind: &str,
    name: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match closest(name, candidates.clone()) {
        Some(near) => format!("unknown {kind} `{name}`; did you mean `{near}`?"),
        None => {
            let all: Vec<&str> = candidates.into_iter().collect();
            format!("unknown {kind} `{name}`; known are {}", all.join(", "))
        }
    }
}

/// Levenshtein distance over bytes; names are ASCII and short.
fn distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        for (name, expected) in [
            ("failed_prots", Some("failed_ports")),
            ("failed_ports", Some("failed_ports")),
            ("udp", None),
            ("syn_packet", Some("syn_packets")),
            ("", None),
        ] {
            assert_eq!(closest(name, ["failed_ports", "syn_packets"]), expected, "{name}");
        }
    }
}
