//! The connections that ended last: what the ct_ features of UNSW-NB15 count.

use crate::{App, FlowRecord};
use std::collections::VecDeque;
use wire::Addr;

/// Connections looked back on, as UNSW-NB15 does.
pub const RECENT: usize = 100;

/// What is remembered of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connection {
    app: App,
    src: (Addr, u16),
    dst: (Addr, u16),
}

impl Connection {
    fn of(record: &FlowRecord) -> Self {
        Self { app: record.app(), src: record.initiator(), dst: record.responder() }
    }
}

/// The last [`RECENT`] connections in the order of their end, bounded whatever the traffic.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    ring: VecDeque<Connection>,
}

/// How many of the recent connections share something with one of them, itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Application and source address.
    pub app_src: u32,
    /// Application and destination address.
    pub app_dst: u32,
    /// Destination address.
    pub dst: u32,
    /// Source address.
    pub src: u32,
    /// Source address and destination port.
    pub src_dport: u32,
    /// Destination address and source port.
    pub dst_sport: u32,
    /// Source and destination address.
    pub src_dst: u32,
}

impl Recent {
    /// Remembers a connection that ended and says what it shares with those before. Source is the initiator.
    pub fn push(&mut self, record: &FlowRecord) -> Shared {
        if self.ring.len() == RECENT {
            self.ring.pop_front();
        }
        let own = Connection::of(record);
        self.ring.push_back(own);
        let mut shared = Shared::default();
        for c in &self.ring {
            let (src, dst, app) = (c.src.0 == own.src.0, c.dst.0 == own.dst.0, c.app == own.app);
            shared.app_src += u32::from(app && src);
            shared.app_dst += u32::from(app && dst);
            shared.dst += u32::from(dst);
            shared.src += u32::from(src);
            shared.src_dport += u32::from(src && c.dst.1 == own.dst.1);
            shared.dst_sport += u32::from(dst && c.src.1 == own.src.1);
            shared.src_dst += u32::from(src && dst);
        }
        shared
    }
}
