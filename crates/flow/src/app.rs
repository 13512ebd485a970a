//! The application of a flow.

use crate::{FlowKey, FlowStats};
use wire::packet::protocol;

pub use wire::message::App;

/// The application of a flow by the first eight bytes that each side said, as the accumulators hold them; DNS by port,
/// as its first bytes carry no mark. What a session recognised ([`crate::Talk::app`]) is better founded.
#[must_use]
pub fn of_head(stats: &FlowStats, key: &FlowKey) -> App {
    let port = key.source(stats.initiator.reverse()).1;
    let (ask, answer) = (stats.from_initiator().head, stats.from_responder().head);
    // Many flows, such as those of a flood, say nothing at all.
    let silent = ask == [0; 8] && answer == [0; 8];
    if key.protocol == protocol::TCP && !silent {
        let told = App::of_stream(&ask, &answer);
        if told != App::Unknown {
            return told;
        }
    }
    match (key.protocol, port) {
        (protocol::TCP | protocol::UDP, 53) => App::Dns,
        _ => App::Unknown,
    }
}
