//! A range's life, as root.

use lab::address;
use lab::range::{Range, RangeError, Side, VICTIM_INTERFACE, is_inside, sweep};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// A range, or `None` with a plain line where this machine cannot have one.
fn range(test: &str) -> Option<Range> {
    match Range::create() {
        Ok(range) => Some(range),
        Err(e @ (RangeError::NotRoot | RangeError::NoIp)) => {
            println!("skipped: {test}: {e}");
            None
        }
        Err(e) => panic!("{test}: {e}"),
    }
}

#[test]
fn a_range_carries_both_ip_versions_and_leaves_nothing() {
    let Some(range) = range("range_lifecycle") else { return };
    let names = Side::ALL.map(|side| range.namespace(side));
    let scratch = range.scratch().to_owned();
    assert!(!is_inside());
    assert!(range.enter(Side::Victim, is_inside).expect("enter"));
    for (server, client) in [
        (address::VICTIM.into(), address::CLIENT.into()),
        (std::net::IpAddr::from(address::VICTIM6), std::net::IpAddr::from(address::ATTACKERS6[0])),
    ] {
        let socket = range
            .enter(Side::Victim, || UdpSocket::bind((server, 7)))
            .expect("enter")
            .expect("bind in the victim");
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
        range
            .enter(Side::Outside, || UdpSocket::bind((client, 0))?.send_to(b"hello", (server, 7)))
            .expect("enter")
            .expect("send from outside");
        let mut buffer = [0; 16];
        let (len, from) = socket.recv_from(&mut buffer).expect("the datagram arrives");
        assert_eq!((&buffer[..len], from.ip()), (&b"hello"[..], client));
    }
    let ping = range
        .command(Side::Victim, "ip")
        .args(["-br", "link", "show", VICTIM_INTERFACE])
        .output()
        .expect("ip netns exec");
    assert!(String::from_utf8_lossy(&ping.stdout).contains("UP"), "{ping:?}");
    range.destroy().expect("destroy");
    for name in names {
        assert!(!Path::new("/run/netns").join(name).exists());
    }
    assert!(!scratch.exists());
}

#[test]
fn a_daemon_runs_inside_and_ends_with_its_handle() {
    let Some(range) = range("range_daemon") else { return };
    let mut daemon = range.daemon(Side::Victim, "sleep", ["60"], |_| ()).expect("start");
    let identity = daemon.identity();
    std::thread::sleep(Duration::from_millis(100));
    assert!(identity.is_alive() && daemon.try_wait().expect("wait").is_none());
    let cmdline = std::fs::read_to_string(format!("/proc/{}/cmdline", identity.pid)).expect("cmdline");
    assert_eq!(cmdline, "sleep\x0060\x00", "the program keeps the recorded pid");
    drop(daemon);
    assert!(!identity.is_alive());
}

#[test]
fn sweep_removes_what_a_killed_owner_left_and_nothing_else() {
    // The owner is this test binary run anew, on the test below.
    let Some(mine) = range("range_sweep") else { return };
    let mut owner = std::process::Command::new(std::env::current_exe().expect("own path"))
        .args(["--ignored", "--exact", "owner_waits_to_be_killed", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("start the owner");
    let mut line = String::new();
    let mut output = std::io::BufReader::new(owner.stdout.take().expect("piped"));
    let (names, scratch, pid) = loop {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut output, &mut line).expect("output of the owner"), 0);
        if let Some(rest) = line.trim().strip_prefix("range ") {
            let mut words = rest.split(' ').map(str::to_owned);
            let mut word = || words.next().expect("four words");
            break ([word(), word()], word(), word());
        }
    };
    owner.kill().expect("kill -9");
    owner.wait().expect("reap");
    assert!(Path::new("/run/netns").join(&names[0]).exists(), "kill -9 leaves the namespaces");
    assert!(Path::new("/proc").join(&pid).exists(), "and the program");
    // Another test's sweep may come first, so what counts is the state afterwards.
    sweep().expect("sweep");
    for name in &names {
        assert!(!Path::new("/run/netns").join(name).exists());
    }
    assert!(!Path::new(&scratch).exists());
    let left = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(left.is_empty() || left.contains(") Z "), "the program has ended: {left}");
    assert!(
        Path::new("/run/netns").join(mine.namespace(Side::Victim)).exists(),
        "a live range is left alone"
    );
}

#[test]
#[ignore = "part of sweep_removes_what_a_killed_owner_left_and_nothing_else"]
fn owner_waits_to_be_killed() {
    let range = Range::create().expect("range");
    let daemon = range.daemon(Side::Victim, "sleep", ["60"], |c| {
        c.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    });
    println!(
        "\nrange {} {} {} {}",
        range.namespace(Side::Victim),
        range.namespace(Side::Outside),
        range.scratch().display(),
        daemon.as_ref().expect("daemon").identity().pid
    );
    std::thread::sleep(Duration::from_secs(30));
}

#[test]
fn tcp_passes_in_both_directions() {
    let Some(range) = range("range_tcp") else { return };
    let listener = range
        .enter(Side::Victim, || TcpListener::bind((address::VICTIM, 8080)))
        .expect("enter")
        .expect("bind");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        std::io::copy(&mut stream.try_clone().expect("clone"), &mut stream).expect("echo")
    });
    let body = vec![0x5a; 300_000];
    let echoed = range
        .enter(Side::Outside, || {
            use std::io::{Read, Write};
            let mut stream = TcpStream::connect((address::VICTIM, 8080))?;
            let mut reader = stream.try_clone()?;
            let read = std::thread::spawn(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_| all)
            });
            stream.write_all(&body)?;
            stream.shutdown(std::net::Shutdown::Write)?;
            read.join().expect("reader")
        })
        .expect("enter")
        .expect("stream");
    assert!(echoed == body);
    assert_eq!(server.join().expect("server"), 300_000);
}
