//! The result files of nDPI's regression tests: one line for each flow, with what nDPI calls it and why.

use super::replayed::{Conversation, Endpoint};
use std::path::Path;

/// A flow as nDPI sees it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// Who with whom.
    pub(crate) conversation: Conversation,
    /// Protocols from the carrier to the carried, such as `TLS`, `Google`.
    pub(crate) names: Vec<String>,
    /// Whether nDPI looked into the packets; otherwise it guessed from port or address, or could not tell.
    pub(crate) inspected: bool,
}

/// The flows of a result file that have ports, in its order.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<Named>> {
    // Host names from the captures stand in the lines as they are.
    let bytes = std::fs::read(path)?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(line).collect())
}

/// `\t1\tTCP 10.0.0.1:49877 <-> 10.0.0.2:443 [proto: 91.196/TLS.DoH_DoT]…[Confidence: DPI]…`
fn line(text: &str) -> Option<Named> {
    let mut columns = text.strip_prefix('\t')?.splitn(2, '\t');
    columns.next()?.parse::<u32>().ok()?;
    let rest = columns.next()?;
    let mut words = rest.split(' ');
    let protocol = words.next().filter(|p| matches!(*p, "TCP" | "UDP"))?;
    let from = endpoint(words.next()?)?;
    words.next().filter(|arrow| matches!(*arrow, "<->" | "->"))?;
    let to = endpoint(words.next()?)?;
    let names = bracket(rest, "[proto: ")?.split_once('/')?.1;
    let confidence = bracket(rest, "[Confidence: ")?;
    Some(Named {
        conversation: Conversation::new(protocol, from, to),
        names: names.split('.').map(str::to_owned).collect(),
        inspected: confidence.starts_with("DPI"),
    })
}

fn bracket<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    Some(text.split_once(opening)?.1.split_once(']')?.0)
}

/// `10.0.0.1:80` or `[fe80::1]:80`.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (address, port) = text.rsplit_once(':')?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    Some((address.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_flows() {
        let flow = line(
            "\t12\tTCP 10.0.0.1:49877 <-> 10.0.0.2:443 [VLAN: 7][proto: 91.196/TLS.DoH_DoT][IP: 0/Unknown]\
             [Encrypted][Confidence: DPI (cache)][FPC: 0/Unknown, Confidence: Unknown]",
        )
        .expect("a flow");
        assert_eq!(flow.names, ["TLS", "DoH_DoT"]);
        assert!(flow.inspected);
        let other = Conversation::new(
            "TCP",
            ("10.0.0.2".parse().expect("an address"), 443),
            ("10.0.0.1".parse().expect("an address"), 49877),
        );
        assert_eq!(flow.conversation, other);
        let guess =
            line("\t1\tUDP [fe80::1]:5353 -> [ff02::fb]:53 [proto: 5/DNS][Confidence: Match by port]")
                .expect("a flow");
        assert!(!guess.inspected);
        assert_eq!(guess.names, ["DNS"]);
    }

    #[test]
    fn other_lines_do_not() {
        for text in [
            "",
            "DPI Packets (TCP):\t6\t(6.00 pkts/flow)",
            "\t1\t 172.20.10.4              \t 1      ",
            "\t1\tICMP 10.0.0.1:0 -> 10.0.0.2:0 [proto: 81/ICMP][Confidence: DPI]",
            "\t1\tTCP 10.0.0.1:1 <-> 10.0.0.2:2 [Confidence: DPI]",
        ] {
            assert!(line(text).is_none(), "{text:?}");
        }
    }
}
