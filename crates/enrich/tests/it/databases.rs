//! Databases of addresses: the real ones, broken ones, and ones that change.

use crate::support::{Scratch, Value, country, database, eventually, ip, shared};
use enrich::NetworkKind;
use enrich::Service;
use enrich::config::{GeoIp, Reputation};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn service(geoip: &GeoIp, dir: &Path) -> Service {
    Service::new(geoip, &Reputation::default(), dir)
}

fn of_countries(path: PathBuf) -> GeoIp {
    GeoIp { country: Some(path), poll_s: 1, ..GeoIp::default() }
}

fn code(service: &Service, addr: &str) -> Option<String> {
    service.facts(ip(addr)).place.as_ref()?.country.as_deref().map(str::to_owned)
}

#[test]
fn databases_of_maxmind_are_read() {
    let (city, asn) =
        ("geoip/maxmind-test-data/GeoIP2-City-Test.mmdb", "geoip/maxmind-test-data/GeoLite2-ASN-Test.mmdb");
    let name = "databases_of_maxmind_are_read";
    let (Some(city), Some(asn)) = (shared(name, city), shared(name, asn)) else { return };
    let dir = Scratch::new();
    let service = service(&GeoIp { city: Some(city), asn: Some(asn), ..GeoIp::default() }, &dir.0);
    assert_eq!(service.load(), Vec::<String>::new());
    let facts = service.facts(ip("2.125.160.216"));
    let place = facts.place.as_ref().expect("a place");
    assert_eq!(place.country.as_deref(), Some("GB"));
    assert_eq!(place.city.as_deref(), Some("Boxford"));
    assert_eq!(place.region.as_deref(), Some("England"));
    assert_eq!((place.latitude, place.longitude), (Some(51.75), Some(-1.25)));
    let facts = service.facts(ip("1.128.0.1"));
    let network = facts.network.as_ref().expect("a network");
    assert_eq!((network.asn, network.organisation.as_deref()), (1221, Some("Telstra Pty Ltd")));
    assert_eq!(network.kind, NetworkKind::Access);
    assert!(service.facts(ip("10.0.0.1")).is_empty());
}

#[test]
fn the_database_of_db_ip_is_read() {
    let path = shared("the_database_of_db_ip_is_read", "geoip/dbip-country/dbip-country.mmdb");
    let Some(path) = path else { return };
    let dir = Scratch::new();
    let service = service(&of_countries(path), &dir.0);
    assert_eq!(service.load(), Vec::<String>::new());
    assert_eq!(code(&service, "8.8.8.8").as_deref(), Some("US"));
    assert_eq!(code(&service, "2001:660::1").as_deref(), Some("FR"));
    assert_eq!(code(&service, "127.0.0.1"), None);
    assert!(service.figures().databases[0].records > 200);
}

#[test]
fn broken_databases_say_so_and_everything_goes_on_without_them() {
    let dir = Scratch::new();
    let whole = database("Test-Country", &[("198.51.100.0", 24, country("DE"))]);
    let check = |content: Option<&[u8]>, expected: &str| {
        let path = dir.0.join("x.mmdb");
        let _ = std::fs::remove_file(&path);
        if let Some(content) = content {
            std::fs::write(&path, content).expect("a file");
        }
        let service = service(&of_countries(path), &dir.0);
        let said = service.load();
        assert_eq!(said.len(), 1, "{expected}");
        assert!(said[0].contains(expected), "{said:?} instead of {expected}");
        assert!(said[0].contains("x.mmdb"), "{said:?}");
        assert_eq!(service.figures().databases[0].error.as_deref(), Some(said[0].as_str()));
        assert!(service.facts(ip("198.51.100.1")).is_empty());
    };
    check(None, "cannot read");
    check(Some(b""), "not a whole MaxMind database");
    check(Some(b"<html>not found</html>"), "not a whole MaxMind database");
    for end in (0..whole.len()).step_by(7) {
        check(Some(&whole[..end]), "not a whole MaxMind database");
    }
    let asn = database(
        "Test-ASN",
        &[("198.51.100.0", 24, Value::Map(vec![("autonomous_system_number", Value::Number(7))]))],
    );
    check(Some(&asn), "holds no countries: it is a database of type 'Test-ASN'");
    check(Some(&database("Empty", &[])), "holds no countries");
}

#[test]
fn no_damage_to_a_database_is_fatal() {
    let dir = Scratch::new();
    let whole = database(
        "Test-Country",
        &[
            ("198.51.100.0", 24, country("DE")),
            ("203.0.113.0", 25, country("FR")),
            ("192.0.2.0", 28, country("US")),
        ],
    );
    let path = dir.0.join("x.mmdb");
    for at in 0..whole.len() {
        for damage in [0x00, 0xff, whole[at] ^ 0x20] {
            let mut broken = whole.clone();
            broken[at] = damage;
            std::fs::write(&path, &broken).expect("a file");
            let service = service(&of_countries(path.clone()), &dir.0);
            // Whether it is taken or refused: neither panics, and asking it does not either.
            let _ = service.load();
            for addr in ["198.51.100.1", "203.0.113.1", "192.0.2.1", "8.8.8.8", "2001:db8::1"] {
                let _ = service.facts(ip(addr));
            }
        }
    }
}

#[test]
fn broken_databases_of_maxmind_are_refused_or_read_and_never_fatal() {
    let dir =
        shared("broken_databases_of_maxmind_are_refused_or_read_and_never_fatal", "geoip/maxmind-test-data");
    let Some(dir) = dir else { return };
    let scratch = Scratch::new();
    for entry in std::fs::read_dir(dir).expect("a directory").map_while(Result::ok) {
        let path = entry.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let service = service(&GeoIp { city: Some(path), ..GeoIp::default() }, &scratch.0);
        let said = service.load();
        let _ = service.facts(ip("1.1.1.1"));
        let is_good = [
            "City-Test.mmdb",
            "City-Shield-Test.mmdb",
            "Enterprise-Test.mmdb",
            "Enterprise-Shield-Test.mmdb",
        ]
        .iter()
        .any(|end| name.ends_with(end));
        assert_eq!(said.is_empty(), is_good, "{name}: {said:?}");
    }
}

#[test]
fn a_changed_file_is_taken_a_broken_one_is_not_and_the_old_one_stays() {
    let dir = Scratch::new();
    let file = |c| database("Test-Country", &[("198.51.100.0", 24, country(c))]);
    let path = dir.write("x.mmdb", file("DE"));
    let service = Arc::new(service(&of_countries(path.clone()), &dir.0));
    let running = service.run().expect("threads");
    eventually("the first load", || code(&service, "198.51.100.1").as_deref() == Some("DE"));
    let next = dir.write("next", file("FR"));
    std::fs::rename(next, &path).expect("a file in its place");
    eventually("the reload", || code(&service, "198.51.100.1").as_deref() == Some("FR"));
    // Half of it, written in place, as a copy without care does.
    std::fs::write(&path, &file("US")[..200]).expect("a file");
    eventually("the complaint", || service.figures().databases[0].error.is_some());
    assert_eq!(code(&service, "198.51.100.1").as_deref(), Some("FR"));
    std::fs::write(&path, file("US")).expect("a file");
    eventually("the recovery", || code(&service, "198.51.100.1").as_deref() == Some("US"));
    let figures = service.figures();
    assert_eq!((figures.databases[0].loads, figures.databases[0].error.as_deref()), (3, None));
    std::fs::remove_file(&path).expect("a file to remove");
    drop(running);
    assert_eq!(code(&service, "198.51.100.1").as_deref(), Some("US"), "a file that is gone changes nothing");
}
