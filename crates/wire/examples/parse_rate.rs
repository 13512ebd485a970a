//! Nanoseconds per packet of the header parser and of steering, over a crafted mix or over a capture.
//!
//! `cargo run --release -p wire --example parse_rate [CAPTURE]`

#![expect(
    clippy::disallowed_methods,
    reason = "a program that measures; the crate's rules are for its library"
)]

use std::fs;
use std::hint::black_box;
use std::time::Instant;
use wire::capture::{CaptureError, Reader};
use wire::craft::{self, Builder, Tcp};
use wire::packet::tcp_flag::{ACK, PSH, SYN};
use wire::{Addr, LinkType, Steering};

const PACKETS: usize = 10_000_000;

type Owned = (LinkType, Vec<u8>, u32);

/// What an ordinary link carries, roughly in proportion: TCP data and acknowledgements, DNS, IPv6, tags, an echo.
fn mix() -> Vec<Owned> {
    let v4 = [Addr::v4([192, 0, 2, 1]), Addr::v4([198, 51, 100, 2])];
    let v6 = [Addr::v4([0; 4]), Addr::v4([1; 4])].map(|Addr(mut b)| {
        b[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        Addr(b)
    });
    let ack = Tcp { src_port: 40_000, dst_port: 443, flags: ACK, window: 500, ..Tcp::default() };
    let frames = [
        craft::tcp((v4[0], 40_000), (v4[1], 443), SYN, 1, 0, 64_240, &[]),
        craft::tcp((v4[1], 443), (v4[0], 40_000), ACK | PSH, 1, 2, 500, &[7; 1400]),
        craft::tcp((v4[1], 443), (v4[0], 40_000), ACK, 1401, 2, 500, &[7; 1400]),
        craft::tcp((v4[0], 40_000), (v4[1], 443), ACK, 2, 1401, 500, &[]),
        craft::udp((v4[0], 50_000), (v4[1], 53), &[1; 40]),
        craft::udp((v4[1], 53), (v4[0], 50_000), &[1; 200]),
        Builder::new(v6[0], v6[1]).tcp(&ack, &[3; 1200]),
        Builder::new(v6[0], v6[1]).extension(0, &[5, 2, 0, 0]).udp(5353, 5353, &[9; 90]),
        Builder::new(v4[0], v4[1]).vlan(7).tcp(&ack, &[3; 600]),
        craft::icmp_echo(v4[0], v4[1], true, 1, 1, &[0; 56]),
    ];
    frames.into_iter().map(|f| (LinkType::Ethernet, f.clone(), f.len() as u32)).collect()
}

/// Every frame of a capture, and how long reading alone takes per packet.
fn captured(path: &str) -> Result<Vec<Owned>, CaptureError> {
    let bytes = fs::read(path).map_err(|source| CaptureError::Io { offset: 0, source })?;
    let start = Instant::now();
    let mut count = 0_u64;
    let mut reader = Reader::new(&bytes[..])?;
    while let Some(frame) = reader.next()? {
        black_box(frame);
        count += 1;
    }
    println!("read:  {:.1} ns/packet", start.elapsed().as_nanos() as f64 / count.max(1) as f64);
    let mut frames = Vec::new();
    let mut reader = Reader::new(&bytes[..])?;
    while let Some(frame) = reader.next()? {
        if let Some(link) = frame.link {
            frames.push((link, frame.data.to_vec(), frame.orig_len));
        }
    }
    Ok(frames)
}

fn main() -> Result<(), CaptureError> {
    let frames = match std::env::args().nth(1) {
        Some(path) => captured(&path)?,
        None => mix(),
    };
    if frames.is_empty() {
        println!("no frames of a known link type");
        return Ok(());
    }
    let (mut packets, mut bytes) = (0_u64, 0_u64);
    let start = Instant::now();
    for (link, frame, frame_len) in frames.iter().cycle().take(PACKETS) {
        if let Ok(packet) = black_box(wire::parse(*link, black_box(frame), *frame_len)) {
            packets += 1;
            bytes += u64::from(packet.ip_len);
        }
    }
    let ns = start.elapsed().as_nanos() as f64 / PACKETS as f64;
    println!("parse: {ns:.1} ns/packet ({packets} of {PACKETS} frames are packets, {bytes} IP bytes)");
    let steering = Steering::new(1, 2);
    let mut second = 0;
    let start = Instant::now();
    for (link, frame, frame_len) in frames.iter().cycle().take(PACKETS) {
        second += black_box(steering.route(*link, black_box(frame), *frame_len)).worker;
    }
    let ns = start.elapsed().as_nanos() as f64 / PACKETS as f64;
    println!("steer: {ns:.1} ns/packet ({second} of {PACKETS} to the second of two workers)");
    Ok(())
}
