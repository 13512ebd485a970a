//! The sensor on real interfaces: hooks and their order, counting, blocks, and what outlives the agent.

mod support;

use kernel::abi::Counter;
use kernel::{AttachChoice, AttachError, AttachMode, KernelEvent, Sensor, SensorConfig};
use respond::Effect;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{DEV, HERE, HERE6, PEER, PEER6, Pair, block, enter, prefix, root};

fn config(pair: &Pair, interface: &str) -> SensorConfig {
    SensorConfig {
        interfaces: vec![interface.to_owned()],
        bpffs: Some(pair.pins()),
        ..SensorConfig::default()
    }
}

/// Nothing of ours is attached in the namespace, and nothing is pinned.
fn nothing_left(pair: &Pair) {
    let attached = pair.inside(|| kernel::netlink::interfaces().expect("interfaces"));
    assert!(attached.iter().all(|i| i.xdp_programs.is_empty()), "{attached:?}");
    let shown = pair.run(&["bpftool", "net", "show"]);
    assert!(!shown.contains("sensor_"), "{shown}");
    assert!(!pair.pins().exists(), "{:?} is left", pair.pins());
}

#[test]
fn native_on_veth_counts_blocks_and_leaves_nothing() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut sensor = Sensor::attach(&config(&pair, DEV)).expect("attach");
        let report = sensor.reports()[0].clone();
        assert_eq!(
            (report.mode, report.egress, report.pinned),
            (AttachMode::Native, true, true),
            "{report:?}"
        );
        assert!(report.fallbacks.is_empty(), "{report:?}");

        assert_eq!(pair.ping(HERE, 5), 5);
        assert_eq!(pair.ping(HERE6, 3), 3);
        let counters = sensor.counters().expect("counters");
        assert!(counters.get(Counter::Packets) >= 8 && counters.get(Counter::EgressPackets) >= 8);
        let now = kernel::clock::wall_ns();
        let mut seen = Vec::new();
        let snapshot = sensor.flows(&mut |key, stats| seen.push((*key, *stats))).expect("flows");
        assert!(snapshot.live >= 2 && snapshot.changed == snapshot.live, "{snapshot:?}");
        let (key, stats) = seen.iter().find(|(k, _)| k.lo.to_string() == HERE).expect("the flow of the ping");
        assert_eq!(key.hi.to_string(), PEER);
        assert_eq!((stats.dir[0].packets, stats.dir[1].packets), (5, 5));
        let age = now.abs_diff(stats.dir[0].last_ns);
        assert!(age < 10_000_000_000, "the flow's time is {age} ns off the wall clock");
        let mut events = Vec::new();
        sensor.poll(Duration::from_millis(100), &mut |e| events.push(e)).expect("poll");
        assert!(
            events.iter().any(|e| matches!(e, KernelEvent::FlowStart { key: k, .. } if k == key)),
            "{events:?}"
        );
        // Unchanged flows are not given out again once the slack has passed.
        std::thread::sleep(Duration::from_millis(60));
        sensor.flows(&mut |_, _| {}).expect("flows");
        std::thread::sleep(Duration::from_millis(60));
        let mut again = 0;
        sensor.flows(&mut |k, _| again += u32::from(k == key)).expect("flows");
        assert_eq!(again, 0);
        let keys: Vec<_> = seen.iter().map(|(k, _)| *k).collect();
        assert!(sensor.forget(&keys).expect("forget") >= 2);
        assert_eq!(sensor.forget(&keys).expect("forget"), 0);
        assert!(sensor.interfaces().expect("interfaces")[0].packets >= 8);
        let programs = sensor.programs();
        let xdp = programs.iter().find(|p| p.name == "sensor_xdp").expect("the program");
        assert!(xdp.run_count >= 8 && xdp.run_time_ns > 0, "{programs:?}");

        sensor.apply(&Effect::Insert(block(PEER, 60_000))).expect("block");
        sensor.apply(&Effect::Insert(block(PEER6, 60_000))).expect("block");
        assert_eq!((pair.ping(HERE, 4), pair.ping(HERE6, 4)), (0, 0));
        let held = sensor.blocks().expect("blocks");
        assert_eq!(held.len(), 2);
        assert!(held.iter().all(|b| b.packets >= 4 && b.bytes > 0), "{held:?}");
        assert!(sensor.counters().expect("counters").get(Counter::DroppedPackets) >= 8);
        // Moving the end keeps the count.
        sensor.apply(&Effect::Insert(block(PEER, 120_000))).expect("extend");
        assert!(sensor.blocks().expect("blocks").iter().any(|b| b.prefix == prefix(PEER) && b.packets >= 4));
        // The allowlist wins.
        sensor.set_allowlist(&[prefix(PEER), prefix("2001:db8:51::/64")]).expect("allow");
        assert_eq!((pair.ping(HERE, 3), pair.ping(HERE6, 3)), (3, 3));
        sensor.set_allowlist(&[prefix("2001:db8:51::/64")]).expect("allow");
        assert_eq!((pair.ping(HERE, 2), pair.ping(HERE6, 2)), (0, 2));
        sensor.apply(&Effect::Remove(prefix(PEER))).expect("unblock");
        sensor.apply(&Effect::Remove(prefix(PEER))).expect("unblock twice");
        assert_eq!(pair.ping(HERE, 3), 3);
        // It wins within a broader block too, whichever of the two came first.
        sensor.apply(&Effect::Insert(block("198.51.100.0/24", 60_000))).expect("block");
        assert_eq!(pair.ping(HERE, 2), 0);
        sensor.set_allowlist(&[prefix(PEER)]).expect("allow");
        assert_eq!(pair.ping(HERE, 2), 2);
        sensor.apply(&Effect::Insert(block(PEER, 60_000))).expect("block");
        assert_eq!(pair.ping(HERE, 2), 2);
        sensor.set_allowlist(&[]).expect("allow nobody");
        assert_eq!(pair.ping(HERE, 2), 0);
        sensor.detach(false).expect("detach");
    });
    nothing_left(&pair);
}

#[test]
fn a_block_ends_by_itself_and_nesting_is_honoured() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut sensor = Sensor::attach(&config(&pair, DEV)).expect("attach");
        sensor.apply(&Effect::Insert(block(PEER, 1500))).expect("block");
        assert_eq!(pair.ping(HERE, 2), 0);
        std::thread::sleep(Duration::from_millis(1500));
        // Nothing was done since.
        assert_eq!(pair.ping(HERE, 3), 3);
        assert!(sensor.blocks().expect("blocks").is_empty());
        // An expired narrow block does not hide a broad one.
        sensor.apply(&Effect::Insert(block("198.51.100.0/24", 60_000))).expect("block");
        sensor.apply(&Effect::Insert(block(PEER, 1))).expect("block");
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(pair.ping(HERE, 2), 0);
        sensor.apply(&Effect::Remove(prefix("198.51.100.0/24"))).expect("unblock");
        assert_eq!(pair.ping(HERE, 2), 2);
        sensor.detach(false).expect("detach");
    });
    nothing_left(&pair);
}

#[test]
fn without_enforcement_nothing_drops() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut sensor =
            Sensor::attach(&SensorConfig { enforce: false, ..config(&pair, DEV) }).expect("attach");
        sensor.apply(&Effect::Insert(block(PEER, 60_000))).expect("block");
        assert_eq!(pair.ping(HERE, 3), 3);
        assert!(sensor.counters().expect("counters").get(Counter::WouldDropPackets) >= 3);
    });
    // Dropped, not detached.
    nothing_left(&pair);
}

#[test]
fn falls_back_where_a_hook_is_refused() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        // The loopback has no native XDP.
        let sensor = Sensor::attach(&config(&pair, "lo")).expect("attach");
        let report = &sensor.reports()[0];
        assert_eq!(report.mode, AttachMode::Generic, "{report:?}");
        assert!(report.fallbacks[0].contains("no native XDP"), "{report:?}");
        drop(sensor);

        for (mode, expected) in
            [(AttachChoice::Generic, AttachMode::Generic), (AttachChoice::Tcx, AttachMode::Tcx)]
        {
            let mut sensor = Sensor::attach(&SensorConfig { mode, ..config(&pair, DEV) }).expect("attach");
            assert_eq!(sensor.reports()[0].mode, expected);
            assert_eq!(pair.ping(HERE, 2), 2);
            sensor.apply(&Effect::Insert(block(PEER, 60_000))).expect("block");
            assert_eq!(pair.ping(HERE, 2), 0, "{mode:?}");
            assert!(sensor.counters().expect("counters").get(Counter::DroppedPackets) >= 2);
        }
    });
    nothing_left(&pair);
}

#[test]
fn shares_an_interface_whose_xdp_is_taken() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let foreign = SensorConfig { bpffs: None, ..config(&pair, DEV) };
        let first = Sensor::attach(&foreign).expect("attach");
        assert!(first.notes()[0].contains("nothing is pinned"), "{:?}", first.notes());
        let second = Sensor::attach(&config(&pair, DEV)).expect("attach");
        let report = &second.reports()[0];
        assert_eq!(report.mode, AttachMode::Tcx, "{report:?}");
        assert!(report.fallbacks[0].contains("'sensor_xdp'"), "{report:?}");
        let refused = Sensor::attach(&SensorConfig { mode: AttachChoice::Native, ..foreign });
        assert!(matches!(refused, Err(AttachError::NothingWorked { .. })), "{refused:?}");
        drop((first, second));
    });
    nothing_left(&pair);
}

#[test]
fn refusals_leave_nothing_attached() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut both = config(&pair, DEV);
        both.interfaces.push("nosuch0".to_owned());
        let error = Sensor::attach(&both).expect_err("unknown interface");
        assert_eq!(error.to_string(), "there is no interface 'nosuch0': there are lo, here0");
        // The second interface cannot do what is asked, so that the first is given up again.
        let native =
            SensorConfig { mode: AttachChoice::Native, interfaces: vec![DEV.into(), "lo".into()], ..both };
        let error = Sensor::attach(&native).expect_err("lo has no native XDP");
        assert!(matches!(error, AttachError::NothingWorked { .. }), "{error}");
    });
    nothing_left(&pair);
    pair.inside(|| {
        let sensor = Sensor::attach(&config(&pair, DEV)).expect("attach");
        let error = Sensor::attach(&config(&pair, DEV)).expect_err("second agent");
        assert!(matches!(error, AttachError::AlreadyRunning { .. }), "{error}");
        drop(sensor);
    });
    nothing_left(&pair);
}

#[test]
fn frames_without_ethernet_are_not_for_the_programs() {
    if !root() {
        return;
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        println!("skipped: frames_without_ethernet_are_not_for_the_programs: there is no /dev/net/tun");
        return;
    }
    let pair = Pair::new();
    pair.run(&["ip", "tuntap", "add", "dev", "tun0", "mode", "tun"]);
    let error = pair.inside(|| Sensor::attach(&config(&pair, "tun0")).expect_err("a tun device"));
    assert!(matches!(error, AttachError::NothingWorked { .. }), "{error}");
    assert!(error.to_string().contains("not Ethernet"), "{error}");
}

#[test]
fn several_interfaces_at_once() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut both = config(&pair, DEV);
        both.interfaces.extend(["lo".to_owned(), DEV.to_owned()]);
        let sensor = Sensor::attach(&both).expect("attach");
        let modes: Vec<_> = sensor.reports().iter().map(|r| r.mode).collect();
        assert_eq!(modes, [AttachMode::Native, AttachMode::Generic]);
    });
    nothing_left(&pair);
}

/// The agent that [`kill_and_recover`] kills; a test only so that the test binary can run it.
#[test]
#[ignore = "part of kill_and_recover"]
fn agent_to_be_killed() {
    let Ok(namespace) = std::env::var("AUTOINMUNE_TEST_NAMESPACE") else { return };
    enter(&namespace);
    let config = SensorConfig {
        interfaces: vec![DEV.to_owned()],
        bpffs: Some(std::path::Path::new("/sys/fs/bpf").join(&namespace)),
        ..SensorConfig::default()
    };
    let mut sensor = Sensor::attach(&config).expect("attach");
    sensor.apply(&Effect::Insert(block(PEER, 60_000))).expect("block");
    sensor.apply(&Effect::Insert(block("203.0.113.0/24", 1))).expect("block");
    println!("\nready");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn kill_and_recover() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "agent_to_be_killed", "--ignored", "--nocapture"])
        .env("AUTOINMUNE_TEST_NAMESPACE", &pair.here)
        .stdout(Stdio::piped())
        .spawn()
        .expect("child");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    assert!(lines.by_ref().any(|l| l.is_ok_and(|l| l == "ready")), "the child did not attach");
    child.kill().expect("kill");
    child.wait().expect("wait");

    assert_eq!(pair.ping(HERE, 2), 0, "the block outlives the agent");
    pair.inside(|| {
        let sensor = Sensor::attach(&config(&pair, DEV)).expect("attach");
        let report = &sensor.reports()[0];
        assert_eq!(
            (report.mode, report.pinned, report.fallbacks.len()),
            (AttachMode::Native, true, 0),
            "{report:?}"
        );
        let recovered: Vec<_> = sensor.recovered_blocks().iter().map(|b| b.prefix).collect();
        assert_eq!(recovered, [prefix(PEER)]);
        let left = sensor.recovered_blocks()[0].until_ns.saturating_sub(kernel::clock::wall_ns());
        assert!((40_000_000_000..60_000_000_000).contains(&left), "{left}");
        assert_eq!(pair.ping(HERE, 2), 0, "and its successor's start");
        sensor.detach(true).expect("detach");
    });
    assert_eq!(pair.ping(HERE, 2), 0, "and its successor's end, if so wished");
    pair.inside(|| {
        // Another capacity: the map cannot be used further, but its blocks are.
        let smaller = SensorConfig { block_capacity: 16, ..config(&pair, DEV) };
        let mut sensor = Sensor::attach(&smaller).expect("attach");
        assert_eq!(sensor.recovered_blocks().len(), 1, "{:?}", sensor.notes());
        assert_eq!(pair.ping(HERE, 2), 0);
        for i in 0..15 {
            sensor.apply(&Effect::Insert(block(&format!("203.0.113.{i}"), 60_000))).expect("block");
        }
        let full = sensor.apply(&Effect::Insert(block("192.0.2.1", 60_000))).expect_err("17th of 16");
        assert!(full.to_string().contains("full (16 entries)"), "{full}");
        assert_eq!(sensor.blocks().expect("blocks").len(), 16);
        sensor.detach(true).expect("detach");
        assert_eq!(kernel::pins::discard(&pair.pins()).expect("discard"), 1);
    });
    assert_eq!(pair.ping(HERE, 2), 2);
    nothing_left(&pair);
}

#[test]
fn waker_ends_a_poll() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        let mut sensor = Sensor::attach(&config(&pair, "lo")).expect("attach");
        let waker = sensor.waker();
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                waker.wake();
            });
            sensor.poll(Duration::from_secs(20), &mut |_| {}).expect("poll");
        });
        assert!(start.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn without_privileges_it_says_so() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.inside(|| {
        // This thread alone becomes nobody, and loses its capabilities with that.
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("setresuid");
        let error = Sensor::attach(&config(&pair, DEV)).expect_err("not allowed");
        assert!(matches!(error, AttachError::NoPermission), "{error}");
    });
    nothing_left(&pair);
}
