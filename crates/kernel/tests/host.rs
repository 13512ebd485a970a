//! What the host knows of itself, in a namespace whose addresses and routes are known.

mod support;

use kernel::host;
use std::net::{TcpListener, TcpStream};
use support::{DEV, HERE, HERE6, PEER, Pair, root};

#[test]
fn addresses_routes_and_sockets() {
    if !root() {
        return;
    }
    let pair = Pair::new();
    pair.run(&["ip", "route", "add", "default", "via", PEER]);
    pair.run(&["ip", "-6", "route", "add", "default", "via", "fe80::99", "dev", DEV]);
    pair.inside(|| {
        assert_eq!(host::default_interfaces(), [DEV]);
        let gateways: Vec<_> = host::gateways().into_iter().map(|(a, i)| format!("{a} {i}")).collect();
        assert_eq!(gateways, [format!("{PEER} {DEV}"), format!("fe80::99 {DEV}")]);
        let own: Vec<_> = host::own_addresses().into_iter().map(|(a, i)| format!("{a} {i}")).collect();
        for expected in ["127.0.0.1 lo".to_owned(), format!("{HERE} {DEV}"), format!("{HERE6} {DEV}")] {
            assert!(own.contains(&expected), "{expected} in {own:?}");
        }
        let allowed = host::allowed();
        let why = |text: &str| allowed.iter().find(|a| a.prefix.to_string() == text).map(|a| a.why.clone());
        assert_eq!(why(HERE), Some(format!("own address on {DEV}")));
        assert_eq!(why(PEER), Some(format!("gateway of {DEV}")));
        assert_eq!(why("127.0.0.0/8"), Some("loopback".to_owned()));

        let listener = TcpListener::bind((HERE, 0)).expect("listen");
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let local = client.local_addr().expect("address");
        let found = host::sockets()
            .into_iter()
            .find(|s| s.local == (local.ip().into(), local.port()))
            .expect("socket");
        assert_eq!((found.remote.0.to_string(), found.state), (HERE.to_owned(), 1));
        // Connected, but no SSH session.
        assert!(!host::ssh_peers().iter().any(|a| a.to_string() == HERE));
    });
}
