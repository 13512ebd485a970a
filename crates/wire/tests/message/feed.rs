//! Feeds a dissector the way a session does: keeps what was left, leaves out what was skipped, reports gaps.

use wire::message::app::{self, LOOK, Recognition};
use wire::message::{Dissector, MAX_UNCONSUMED, Message, Next, Side, Violation};

/// A flow as sent: who, and the bytes in order.
pub(crate) type Talk<'a> = &'a [(Side, &'a [u8])];

/// One direction, as a session keeps it.
#[derive(Default)]
struct Direction {
    kept: Vec<u8>,
    skip: u64,
    over: bool,
}

/// The messages of `talk` when each turn arrives in pieces of `piece` bytes.
pub(crate) fn stream(dissector: &mut dyn Dissector, talk: Talk<'_>, piece: usize) -> Vec<Message> {
    let mut out = Vec::new();
    let mut directions = [Direction::default(), Direction::default()];
    for (side, turn) in talk {
        for bytes in turn.chunks(piece.max(1)) {
            if !give(dissector, *side, &mut directions[*side as usize], bytes, &mut out) {
                return out;
            }
        }
    }
    out
}

/// Hands over one piece; `false` when the dissector wants nothing more at all.
fn give(
    dissector: &mut dyn Dissector,
    side: Side,
    direction: &mut Direction,
    bytes: &[u8],
    out: &mut Vec<Message>,
) -> bool {
    if direction.over {
        return true;
    }
    direction.kept.extend_from_slice(bytes);
    loop {
        let leave = direction.skip.min(direction.kept.len() as u64);
        direction.kept.drain(..leave as usize);
        direction.skip -= leave;
        if direction.kept.is_empty() {
            return true;
        }
        let progress = dissector.data(side, &direction.kept, out);
        assert!(progress.consumed <= direction.kept.len(), "more consumed than given");
        direction.kept.drain(..progress.consumed);
        match progress.next {
            Next::More => break,
            Next::Skip(n) => direction.skip = n,
            Next::Enough => {
                direction.over = true;
                return true;
            }
            Next::Done => return false,
        }
    }
    if direction.kept.len() > MAX_UNCONSUMED {
        let missing = direction.kept.len() as u64;
        direction.kept.clear();
        return dissector.gap(side, missing) != Next::Done;
    }
    true
}

/// The messages of one datagram.
pub(crate) fn datagram(dissector: &mut dyn Dissector, side: Side, bytes: &[u8]) -> Vec<Message> {
    let mut out = Vec::new();
    dissector.data(side, bytes, &mut out);
    out
}

/// What the violations among `messages` say.
pub(crate) fn violations(messages: &[Message]) -> Vec<&'static str> {
    messages
        .iter()
        .filter_map(|m| match m {
            Message::Violation(Violation { what, .. }) => Some(*what),
            _ => None,
        })
        .collect()
}

/// What holds for any bytes a flow could carry: pieces tell what the whole tells, and messages are no more than bytes.
///
/// `input` is the size of the pieces, how many bytes the client sends before the server (two bytes, little-endian), and
/// what they send.
pub(crate) fn agrees(dissector: impl Fn() -> Box<dyn Dissector>, input: &[u8]) {
    let Some(([piece, low, high], sent)) = input.split_first_chunk() else { return };
    let (client, server) = sent.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(sent.len()));
    let talk: Talk<'_> = &[(Side::Client, client), (Side::Server, server)];
    let whole = stream(&mut *dissector(), talk, usize::MAX);
    assert_eq!(stream(&mut *dissector(), talk, usize::from(*piece)), whole);
    assert!(whole.len() <= 4 * sent.len());
}

/// What holds for any datagram: at most a message and a few violations.
pub(crate) fn bounded(dissector: &mut dyn Dissector, bytes: &[u8]) {
    assert!(datagram(dissector, Side::Client, bytes).len() <= 4);
}

/// What holds for the first bytes of any flow: what one side alone decided, more of its bytes do not change.
pub(crate) fn stays_recognised(bytes: &[u8]) {
    for (client, server) in [(bytes, &b""[..]), (b"", bytes)] {
        let mut before = Recognition::Undecided;
        for end in 0..=bytes.len().min(LOOK + 2) {
            let now = app::stream(&client[..end.min(client.len())], &server[..end.min(server.len())]);
            assert!(before == Recognition::Undecided || now == before, "{before:?}, then {now:?} at {end}");
            before = now;
        }
    }
    let (client, server) = bytes.split_at(bytes.len() / 2);
    let _ = (app::stream(client, server), app::datagram(client, server, (53, 123)));
}
