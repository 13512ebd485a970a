//! The nftables effector in a namespace of its own.

mod support;

use kernel::nft::Nft;
use respond::Effect;
use std::time::Duration;
use support::{HERE, HERE6, PEER, PEER6, Pair, block, prefix, root};

fn usable(pair: &Pair) -> bool {
    if pair.inside(|| Nft::open().is_ok()) {
        return true;
    }
    println!("skipped: {}", pair.inside(|| Nft::open().err().map(|e| e.to_string()).unwrap_or_default()));
    false
}

#[test]
fn blocks_allows_expires_and_leaves_others_alone() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    if !usable(&pair) {
        return;
    }
    pair.run(&["nft", "add table inet foreign; add set inet foreign s { type ipv4_addr; }; add element inet foreign s { 192.0.2.1 }"]);
    pair.inside(|| {
        let mut nft = Nft::open().expect("open");
        assert!(nft.recovered_blocks().is_empty());
        assert_eq!((pair.ping(HERE, 2), pair.ping(HERE6, 2)), (2, 2));
        let both = [Effect::Insert(block(PEER, 60_000)), Effect::Insert(block("2001:db8:51::/64", 60_000))];
        nft.apply_all(&both).expect("block");
        assert_eq!((pair.ping(HERE, 2), pair.ping(HERE6, 2)), (0, 0));
        let held = nft.blocks().expect("blocks");
        assert_eq!(held.len(), 2, "{held:?}");
        assert!(held.iter().all(|b| b.packets >= 2 && b.bytes > 0), "{held:?}");

        nft.set_allowlist(&[prefix(PEER), prefix("198.51.100.0/25"), prefix(PEER6)]).expect("allow");
        assert_eq!((pair.ping(HERE, 2), pair.ping(HERE6, 2)), (2, 2));
        nft.set_allowlist(&[]).expect("allow");
        assert_eq!(pair.ping(HERE, 1), 0);
        // The end moves, earlier too.
        nft.apply(&Effect::Insert(block(PEER, 1200))).expect("move the end");
        assert_eq!(pair.ping(HERE, 1), 0);
        std::thread::sleep(Duration::from_millis(1300));
        assert_eq!(pair.ping(HERE, 2), 2, "it ends by itself");
        nft.apply(&Effect::Remove(prefix(PEER))).expect("what has ended can be lifted");
        nft.apply(&Effect::Remove(prefix("2001:db8:51::/64"))).expect("lift");
        assert_eq!(pair.ping(HERE6, 2), 2);
        assert!(nft.blocks().expect("blocks").is_empty());
    });
    let rules = pair.run(&["nft", "list", "ruleset"]);
    assert!(rules.contains("table inet foreign") && rules.contains("192.0.2.1"), "{rules}");
    assert!(!rules.contains("autoinmune"), "{rules}");
}

#[test]
fn nested_prefixes_and_rebuilding() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    if !usable(&pair) {
        return;
    }
    pair.inside(|| {
        let mut nft = Nft::open().expect("open");
        let insert = |nft: &mut Nft, text: &str| nft.apply(&Effect::Insert(block(text, 60_000))).expect(text);
        let remove = |nft: &mut Nft, text: &str| nft.apply(&Effect::Remove(prefix(text))).expect(text);
        insert(&mut nft, "198.51.100.0/28");
        insert(&mut nft, "198.51.100.0/30");
        insert(&mut nft, "198.51.100.0/24");
        insert(&mut nft, PEER);
        assert_eq!(nft.blocks().expect("blocks").len(), 4);
        remove(&mut nft, "198.51.100.0/24");
        remove(&mut nft, PEER);
        assert_eq!(pair.ping(HERE, 1), 0, "the /28 is back");
        remove(&mut nft, "198.51.100.0/28");
        assert_eq!(pair.ping(HERE, 1), 0, "the /30 is back");
        // Somebody removes the table: the next change sets it up again.
        pair.run(&["nft", "delete", "table", "inet", "autoinmune"]);
        assert!(nft.blocks().expect("blocks").is_empty());
        insert(&mut nft, "203.0.113.0/24");
        assert_eq!(nft.blocks().expect("blocks").len(), 2);
        assert_eq!(pair.ping(HERE, 1), 0);
        remove(&mut nft, "198.51.100.0/30");
        assert_eq!(pair.ping(HERE, 2), 2);
    });
}

#[test]
fn kept_blocks_are_found_again() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    if !usable(&pair) {
        return;
    }
    pair.inside(|| {
        let mut nft = Nft::open().expect("open");
        nft.apply(&Effect::Insert(block(PEER, 60_000))).expect("block");
        nft.apply(&Effect::Insert(block("2001:db8:51::/64", 60_000))).expect("block");
        nft.close(true).expect("close");
        assert_eq!(pair.ping(HERE, 1), 0);
        let nft = Nft::open().expect("open");
        let found: Vec<_> = nft.recovered_blocks().iter().map(|b| b.prefix.to_string()).collect();
        assert_eq!(found, [PEER, "2001:db8:51::/64"]);
        assert_eq!(pair.ping(HERE, 1), 0);
        nft.close(false).expect("close");
        assert_eq!(pair.ping(HERE, 2), 2);
    });
    assert!(!pair.run(&["nft", "list", "ruleset"]).contains("autoinmune"));
}

#[test]
fn a_thousand_blocks_at_once() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    if !usable(&pair) {
        return;
    }
    pair.inside(|| {
        let mut nft = Nft::open().expect("open");
        let effects: Vec<_> = (0..1000)
            .map(|i| Effect::Insert(block(&format!("203.0.{}.{}", i / 256, i % 256), 60_000)))
            .collect();
        let start = std::time::Instant::now();
        nft.apply_all(&effects).expect("blocks");
        println!("1000 blocks: {:?}", start.elapsed());
        assert_eq!(nft.blocks().expect("blocks").len(), 1000);
    });
}
