//! The inputs the fuzz targets begin with, and those they found something by: each must be dealt with.

#![expect(clippy::disallowed_methods, reason = "reads the seeds; the crate's rules are for its library")]

use crate::feed;
use std::fs;
use std::path::PathBuf;
use wire::LinkType;
use wire::message::{arp, dcerpc, dhcp, dns, ftp, http, kerberos, modbus, smb, ssh, tls};

/// Hands every seed of a target to `check`; a target without seeds fails.
fn seeds(target: &str, check: impl Fn(&[u8])) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut seen = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        check(&fs::read(entry.unwrap().path()).unwrap());
        seen += 1;
    }
    assert!(seen > 0, "no seeds for {target}");
}

#[test]
fn seeds_are_dealt_with() {
    seeds("dns", |input| {
        feed::bounded(&mut dns::Dissector::datagram(), input);
        feed::agrees(|| Box::new(dns::Dissector::stream()), input);
    });
    seeds("http", |input| feed::agrees(|| Box::<http::Dissector>::default(), input));
    seeds("tls", |input| feed::agrees(|| Box::<tls::Dissector>::default(), input));
    seeds("ssh", |input| feed::agrees(|| Box::<ssh::Dissector>::default(), input));
    seeds("smb", |input| feed::agrees(|| Box::<smb::Dissector>::default(), input));
    seeds("kerberos", |input| {
        feed::bounded(&mut kerberos::Dissector::datagram(), input);
        feed::agrees(|| Box::new(kerberos::Dissector::stream()), input);
    });
    seeds("dcerpc", |input| feed::agrees(|| Box::<dcerpc::Dissector>::default(), input));
    seeds("modbus", |input| feed::agrees(|| Box::<modbus::Dissector>::default(), input));
    seeds("ftp", |input| feed::agrees(|| Box::<ftp::Dissector>::default(), input));
    seeds("app", feed::stays_recognised);
    seeds("dhcp", |input| feed::bounded(&mut dhcp::Dissector::default(), input));
    seeds("arp", |input| {
        for link in LinkType::ALL {
            assert!(arp::parse(link, input).is_none() || input.len() >= 42);
        }
    });
}
