//! Pseudonyms in tables and captures.

use crate::common::{Scratch, lines, open};
use dataset::Format;
use dataset::anonymise::{CryptoPan, capture, table};
use proptest::prelude::*;
use wire::capture::{Reader, Writer};
use wire::packet::tcp_flag::{ACK, PSH};
use wire::{Addr, LinkType, craft};

fn pan() -> CryptoPan {
    CryptoPan::new(&std::array::from_fn(|i| i as u8))
}

fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Writer::new(Vec::new(), LinkType::Ethernet).expect("a header");
    for (at, frame) in (1..).zip(frames) {
        out.write(at * 1_000_000, frame).expect("written");
    }
    out.finish().expect("a capture")
}

#[test]
fn columns_of_addresses_are_replaced_and_what_is_made_of_them_goes() {
    let scratch = Scratch::new("anon-table");
    let d = open(&scratch.write(
        "t.csv",
        "ts,community_id,src_ip,dst_ip,peer,dur\n1,1:abc=,10.0.0.1,2001:db8::1,10.0.0.1,5\n2,1:abd=,10.0.0.2,-,x,6\n",
    ));
    let out = scratch.path("o.csv");
    let report = table(&d, &pan(), &["peer".into()], &out, Format::Csv).expect("replaced");
    assert_eq!((report.rows, report.addresses, report.not_addresses), (2, 4, 2));
    assert_eq!(report.columns, ["src_ip", "dst_ip", "peer"]);
    assert_eq!(report.emptied, ["community_id"]);
    let pseudonym = |a: &str| pan().address(a.parse().expect(a)).to_string();
    let expected = [
        "ts,community_id,src_ip,dst_ip,peer,dur".to_owned(),
        format!("1,,{0},{1},{0},5", pseudonym("10.0.0.1"), pseudonym("2001:db8::1")),
        format!("2,,{},,,6", pseudonym("10.0.0.2")),
    ];
    assert_eq!(lines(&out), expected);
    let plain = open(&scratch.write("p.csv", "dur\n1\n"));
    let error = table(&plain, &pan(), &[], &scratch.path("q.csv"), Format::Csv).expect_err("no addresses");
    assert!(error.to_string().contains("name it with --column"), "{error}");
}

#[test]
fn captures_keep_headers_with_pseudonyms_and_lose_payload() {
    let (a, b) = (Addr::v4([10, 1, 2, 3]), Addr::v4([10, 1, 9, 9]));
    let (c, d): (Addr, Addr) =
        ("2001:db8::1".parse().expect("an address"), "2001:db8::2".parse().expect("an address"));
    let frames = [
        craft::tcp((a, 1000), (b, 80), PSH | ACK, 1, 2, 3, b"GET /secret HTTP/1.1\r\n\r\n"),
        craft::tcp((c, 1000), (d, 80), PSH | ACK, 1, 2, 3, b"secret"),
        craft::udp((a, 1000), (b, 53), b"secret name"),
        craft::udp((c, 1000), (d, 53), b"secret name"),
    ];
    let original = pcap(&frames);
    let mut out = Vec::new();
    let report = capture(original.as_slice(), &mut out, &pan()).expect("copied");
    assert_eq!(
        (report.frames, report.written, report.left_out, report.payload_bytes),
        (4, 4, 0, 24 + 6 + 11 + 11)
    );
    assert!(!out.windows(6).any(|w| w == b"secret"));
    let mut reader = Reader::new(out.as_slice()).expect("a capture");
    for before in &frames {
        let frame = reader.next().expect("whole").expect("a frame");
        let link = frame.link.expect("a link");
        let old = wire::parse(LinkType::Ethernet, before, before.len() as u32).expect("parsed");
        let new = wire::parse(link, frame.data, frame.orig_len).expect("parsed");
        assert_eq!((new.src, new.dst), (pan().address(old.src), pan().address(old.dst)));
        assert_eq!((new.src_port, new.dst_port, new.tcp_flags), (old.src_port, old.dst_port, old.tcp_flags));
        assert_eq!((new.payload_len, new.ip_len), (old.payload_len, old.ip_len));
        assert!(new.payload.is_empty() && frame.data[..12] == [0; 12]);
    }
}

/// A checksum that was right is right for the new addresses and the old payload.
#[test]
fn checksums_stay_right() {
    let payload = b"four";
    let frame = craft::tcp(
        (Addr::v4([192, 0, 2, 1]), 1000),
        (Addr::v4([198, 51, 100, 7]), 80),
        PSH | ACK,
        1,
        2,
        3,
        payload,
    );
    let mut out = Vec::new();
    capture(pcap(std::slice::from_ref(&frame)).as_slice(), &mut out, &pan()).expect("copied");
    let mut reader = Reader::new(out.as_slice()).expect("a capture");
    let new = reader.next().expect("whole").expect("a frame").data.to_vec();
    let sum = |bytes: &[u8], start: u32| {
        let mut sum = start;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum
    };
    assert_eq!(sum(&new[14..34], 0), 0xffff, "IP");
    let segment = [&new[34..], payload.as_slice()].concat();
    let pseudo = sum(&new[26..34], 6 + segment.len() as u32);
    assert_eq!(sum(&segment, pseudo), 0xffff, "TCP");
}

#[test]
fn what_is_cut_short_is_copied_as_far_as_it_goes() {
    let frame = craft::udp((Addr::v4([10, 0, 0, 1]), 1), (Addr::v4([10, 0, 0, 2]), 2), b"x");
    let whole = pcap(&[frame.clone(), frame]);
    let mut out = Vec::new();
    let report = capture(&whole[..whole.len() - 3], &mut out, &pan()).expect("copied");
    assert_eq!((report.frames, report.written), (1, 1));
    assert!(report.error.is_some_and(|e| e.contains("cut off")));
    assert!(capture(&b"noise"[..], &mut Vec::new(), &pan()).is_err());
}

proptest! {
    /// Under every link type, whatever the frame holds; addresses that are in the clear where IP begins are never left.
    #[test]
    fn no_frame_panics(mut frame in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_usize..5, ip in 0_u8..4) {
        let link = LinkType::ALL[kind];
        if let (LinkType::Ethernet, [_, _, _, _, _, _, _, _, _, _, _, _, a, b, first, ..]) = (link, frame.as_mut_slice()) {
            match ip {
                0 => (*a, *b, *first) = (0x08, 0x00, 0x45),
                1 => (*a, *b, *first) = (0x86, 0xdd, 0x60),
                2 => (*a, *b) = (0x81, 0x00),
                _ => {}
            }
        }
        let mut out = Writer::new(Vec::new(), link).expect("a header");
        out.write(1, &frame).expect("written");
        let report = capture(out.finish().expect("a capture").as_slice(), &mut Vec::new(), &pan()).expect("read");
        prop_assert_eq!(report.written + report.left_out, 1);
    }
}
