//! Activities that no ordinary host shows: contradicting segments, fragments out of place, ARP.

use super::script::{Item, Script};
use super::{Traffic, spoken};
use wire::Fragment;
use wire::message::arp::Arp;
use wire::packet::tcp_flag;

/// Bytes of a UDP header, which the first fragment carries before its content.
const UDP_HEADER: u32 = 8;

impl Script<'_> {
    /// Says `hello`, and again with every byte changed at the same place of the stream before it was acknowledged.
    pub(super) fn conflict(&mut self, t: &Traffic) {
        self.handshake();
        let text = spoken(&t.hello).unwrap_or_default();
        let other: Vec<u8> = text.iter().map(|b| b ^ 1).collect();
        let before = self.sent;
        self.send(true, tcp_flag::ACK | tcp_flag::PSH, text.len() as u32, &text);
        self.sent = before;
        self.wait(100_000);
        self.say(true, other.len() as u32, &other);
    }

    /// One datagram in fragments of `length` bytes, each beginning `step` bytes after the one before.
    pub(super) fn fragments(&mut self, size: u32, length: u32, step: u32, id: u32) {
        let whole = size + UDP_HEADER;
        let mut offset = 0;
        while offset < whole {
            let bytes = length.min(whole - offset);
            let place = if offset == 0 { Fragment::First } else { Fragment::Later };
            let (client, server, payload) = match place {
                Fragment::First => (self.client, self.server, bytes.saturating_sub(UDP_HEADER)),
                _ => ((self.client.0, 0), (self.server.0, 0), bytes),
            };
            self.items.push(Item {
                at_ns: self.at_ns,
                src: client,
                dst: server,
                protocol: self.protocol,
                flags: 0,
                seq: 0,
                payload_len: payload,
                text: Vec::new(),
                window: 0,
                fragment: (place, id + 1, offset as u16),
                arp: None,
            });
            self.wait(1000);
            offset += step;
        }
    }

    /// A request of the client for the server, or a reply that claims the client to the server.
    pub(super) fn arp(&mut self, reply: bool, mac: u8) {
        let sender = [2, 0, 0, 0, 0, mac];
        let arp = Arp {
            operation: if reply { 2 } else { 1 },
            frame_source: sender,
            sender,
            sender_ip: self.client.0,
            target: [0; 6],
            target_ip: self.server.0,
            vlan: 0,
        };
        self.items.push(Item { arp: Some(arp), ..Item::nothing(self.at_ns, self.client, self.server) });
    }
}
