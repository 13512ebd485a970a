//! The table against a naive oracle.

use enrich::{Builder, Hit, Prefix, Table};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefixes from a few bits of the address space, so that many nest, touch and repeat.
fn prefix() -> impl Strategy<Value = Prefix> {
    let v4 = (0_u32..1 << 12, 0_u8..=32).prop_map(|(bits, len)| {
        let addr = bits.rotate_right(6);
        Prefix::new(IpAddr::V4(Ipv4Addr::from_bits(addr)), len).expect("a prefix")
    });
    let v6 = (0_u128..1 << 12, 0_u8..=128).prop_map(|(bits, len)| {
        let addr = bits.rotate_right(6) | 1 << 90;
        Prefix::new(IpAddr::V6(Ipv6Addr::from_bits(addr)), len).expect("a prefix")
    });
    prop_oneof![v4, v6]
}

fn contains(prefix: &Prefix, addr: IpAddr) -> bool {
    Prefix::new(addr, prefix.len()).is_ok_and(|p| p == *prefix)
}

/// Of each list, the most sure prefix that holds the address. Of equally sure ones the widest counts, the first of those.
fn naive(lists: &[Vec<(Prefix, u8)>], addr: IpAddr) -> Vec<(u16, u8)> {
    (0..)
        .zip(lists)
        .filter_map(|(list, entries)| {
            let sure = entries.iter().filter(|(p, _)| contains(p, addr)).map(|(_, s)| *s).max()?;
            Some((list, sure))
        })
        .collect()
}

fn table(lists: &[Vec<(Prefix, u8)>]) -> Table {
    let builders: Vec<Builder> = lists
        .iter()
        .map(|entries| {
            let mut builder = Builder::default();
            for (prefix, strength) in entries {
                builder.add(*prefix, *strength, 0);
            }
            builder.finish();
            builder
        })
        .collect();
    Table::merge(&builders.iter().collect::<Vec<_>>())
}

/// Addresses at and around the edges of a prefix.
fn edges(prefix: &Prefix) -> Vec<IpAddr> {
    match prefix.addr() {
        IpAddr::V4(a) => {
            let last = a.to_bits() | u32::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
            [a.to_bits(), a.to_bits().wrapping_sub(1), last, last.wrapping_add(1)]
                .map(|b| IpAddr::V4(Ipv4Addr::from_bits(b)))
                .into()
        }
        IpAddr::V6(a) => {
            let last = a.to_bits() | u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
            [a.to_bits(), a.to_bits().wrapping_sub(1), last, last.wrapping_add(1)]
                .map(|b| IpAddr::V6(Ipv6Addr::from_bits(b)))
                .into()
        }
    }
}

proptest! {
    #[test]
    fn the_table_answers_as_a_walk_over_all_prefixes_does(
        lists in prop::collection::vec(prop::collection::vec((prefix(), 0_u8..=100), 0..60), 0..4),
        others in prop::collection::vec(prefix(), 0..20),
    ) {
        let table = table(&lists);
        let asked = lists.iter().flatten().map(|(p, _)| p).chain(&others).flat_map(edges);
        for addr in asked {
            let got: Vec<(u16, u8)> = table.hits(addr).iter().map(|h| (h.list, h.strength)).collect();
            // IPv4 in IPv6 is IPv4 to the table, and the oracle has no idea of that.
            if addr.to_canonical() == addr {
                prop_assert_eq!(got, naive(&lists, addr), "{}", addr);
            }
        }
    }
}

#[test]
fn the_ends_of_the_address_space_are_no_exception() {
    let all = |text| vec![(Prefix::parse(text).expect("a prefix"), 50)];
    let table = table(&[all("0.0.0.0/0"), all("::/0"), all("255.255.255.255"), all("ffff:ffff::/32")]);
    let lists = |addr: &str| -> Vec<u16> {
        table.hits(addr.parse().expect("an address")).iter().map(|h| h.list).collect()
    };
    assert_eq!(lists("0.0.0.0"), [0]);
    assert_eq!(lists("255.255.255.254"), [0]);
    assert_eq!(lists("255.255.255.255"), [0, 2]);
    assert_eq!(lists("::"), [1]);
    assert_eq!(lists("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), [1, 3]);
    assert_eq!(lists("::ffff:255.255.255.255"), [0, 2], "IPv4 in IPv6 is IPv4");
}

#[test]
fn an_empty_table_knows_nobody() {
    for table in [Table::default(), Table::merge(&[]), Table::merge(&[&Builder::default()])] {
        assert_eq!(table.hits(IpAddr::V4(Ipv4Addr::LOCALHOST)), []);
        assert_eq!(table.hits(IpAddr::V6(Ipv6Addr::LOCALHOST)), []);
    }
}

#[test]
fn notes_that_outnumber_their_numbers_are_left_out_and_no_prefix_is() {
    let mut builder = Builder::default();
    for n in 0..70_000_u32 {
        let prefix = Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(n * 2)));
        builder.add(
            prefix,
            u8::try_from(n % 2).expect("0 or 1"),
            u16::try_from(n / 2).expect("below 35000") + 1,
        );
    }
    builder.finish();
    assert_eq!(builder.len(), 70_000);
    let table = Table::merge(&[&builder]);
    let hit = |n: u32| table.hits(IpAddr::V4(Ipv4Addr::from_bits(n * 2))).to_vec();
    assert_eq!(hit(5), [Hit { list: 0, strength: 1, note: 3 }]);
    assert_eq!(hit(69_999), [Hit { list: 0, strength: 1, note: 0 }]);
}

#[test]
fn a_million_prefixes_fit_in_64_mb() {
    let check = |name: &str, make: &dyn Fn(u32) -> IpAddr| {
        let mut builder = Builder::default();
        // Every other address, so that nothing can be joined: the worst case.
        for n in 0..1_000_000 {
            builder.add(Prefix::host(make(n)), 100, 0);
        }
        builder.finish();
        let table = Table::merge(&[&builder]);
        let bytes = builder.bytes() + table.bytes();
        assert_eq!(builder.len(), 1_000_000);
        assert!(bytes <= 64_000_000, "{name}: {bytes} bytes");
        assert_eq!(table.hits(make(77_777)).len(), 1);
    };
    check("IPv4", &|n| IpAddr::V4(Ipv4Addr::from_bits((8 << 24) + n * 2)));
    check("IPv6", &|n| IpAddr::V6(Ipv6Addr::from_bits((0x2001 << 112) + (u128::from(n) << 64))));
    // Fifty providers far apart, of each two hundred customers, of each a hundred subnets in a row.
    check("IPv6, crowded", &|n| {
        let provider = (0x2001_u128 << 112) + (u128::from(n / 20_000 * 977) << 96);
        let customer = u128::from(n / 100 % 200) << 80;
        IpAddr::V6(Ipv6Addr::from_bits(provider + customer + (u128::from(n % 100) << 64)))
    });
}
