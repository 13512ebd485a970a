//! Capture files made by hand, in either byte order.

/// Writes the fields of a capture file in one byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) const BOTH: [Self; 2] = [Self::Little, Self::Big];

    pub(crate) fn u16(self, v: u16) -> [u8; 2] {
        if self == Self::Big { v.to_be_bytes() } else { v.to_le_bytes() }
    }

    pub(crate) fn u32(self, v: u32) -> [u8; 4] {
        if self == Self::Big { v.to_be_bytes() } else { v.to_le_bytes() }
    }

    pub(crate) fn u64(self, v: u64) -> [u8; 8] {
        if self == Self::Big { v.to_be_bytes() } else { v.to_le_bytes() }
    }

    fn words(self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|&w| self.u32(w)).collect()
    }

    /// A pcap file header.
    pub(crate) fn pcap(self, magic: u32, minor: u16, dlt: u32) -> Vec<u8> {
        let mut file = self.u32(magic).to_vec();
        file.extend(self.u16(2));
        file.extend(self.u16(minor));
        file.extend(self.words(&[0, 0, 65_535, dlt]));
        file
    }

    /// A pcap record.
    pub(crate) fn record(self, fields: [u32; 4], data: &[u8]) -> Vec<u8> {
        [&self.words(&fields), data].concat()
    }

    /// A pcapng block; the body is padded.
    pub(crate) fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = body.len() as u32 + 12;
        [&self.u32(kind)[..], &self.u32(len), &body, &self.u32(len)].concat()
    }

    /// A section header.
    pub(crate) fn section(self) -> Vec<u8> {
        let body = [&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface description with options.
    pub(crate) fn interface(self, dlt: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.u16(dlt)[..], &[0, 0], &self.u32(snaplen)].concat();
        for (code, value) in options {
            body.extend(self.u16(*code));
            body.extend(self.u16(value.len() as u16));
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    /// An enhanced packet block.
    pub(crate) fn enhanced(self, interface: u32, units: u64, data: &[u8], orig_len: u32) -> Vec<u8> {
        let fields = [interface, (units >> 32) as u32, units as u32, data.len() as u32, orig_len];
        self.block(6, &[&self.words(&fields), data].concat())
    }

    /// A packet block of the obsolete kind, with a drop count beside the interface.
    pub(crate) fn obsolete(self, interface: u16, units: u64, data: &[u8]) -> Vec<u8> {
        let len = data.len() as u32;
        let fields = self.words(&[(units >> 32) as u32, units as u32, len, len]);
        self.block(2, &[&self.u16(interface)[..], &self.u16(77), &fields, data].concat())
    }

    /// A simple packet block.
    pub(crate) fn simple(self, data: &[u8], orig_len: u32) -> Vec<u8> {
        self.block(3, &[&self.u32(orig_len), data].concat())
    }
}
