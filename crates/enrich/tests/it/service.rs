//! The service as a whole: the cache, lists from files, and what reloads cost those who ask.

use crate::support::{Scratch, country, database, eventually, ip};
use enrich::Service;
use enrich::config::{GeoIp, List, Reputation};
use enrich::list::Kind;
use std::path::PathBuf;
use std::sync::Arc;

fn list(name: &str, path: PathBuf, weight: f64) -> List {
    List {
        name: name.into(),
        kind: Kind::Plain,
        path: Some(path),
        url: None,
        weight,
        refresh_s: None,
        key_file: None,
        key_env: None,
    }
}

#[test]
fn lists_that_agree_make_a_score_that_explains_itself() {
    let dir = Scratch::new();
    let lists = vec![
        list("a", dir.write("a", "198.51.100.0/24\n"), 0.5),
        list("b", dir.write("b", "198.51.100.7\n203.0.113.1\n"), 0.6),
    ];
    let service = Service::new(&GeoIp::default(), &Reputation { lists }, &dir.0);
    assert_eq!(service.load(), Vec::<String>::new());
    let score = |addr: &str| service.score(ip(addr));
    assert_eq!(score("198.51.100.1"), Some(50));
    assert_eq!(score("203.0.113.1"), Some(60));
    assert_eq!(score("198.51.100.7"), Some(80));
    assert_eq!(score("192.0.2.1"), None);
    let facts = service.facts(ip("198.51.100.7"));
    let parts = &facts.reputation.as_ref().expect("a reputation").parts;
    let said: Vec<String> = parts.iter().map(enrich::Part::explain).collect();
    assert_eq!(
        said,
        ["a: 50.0 points (weight 0.50 × strength 1.00)", "b: 60.0 points (weight 0.60 × strength 1.00)"]
    );
    let figures = service.figures();
    let hits = |figures: &enrich::Figures| figures.lists.iter().map(|l| l.hits).collect::<Vec<u64>>();
    assert_eq!(hits(&figures), [3, 3]);
    assert_eq!((figures.cache.hits, figures.cache.misses), (0, 1));
    assert_eq!(service.facts(ip("198.51.100.7")), facts);
    let figures = service.figures();
    assert_eq!(hits(&figures), [4, 4], "answers from the cache count too");
    assert_eq!((figures.cache.hits, figures.cache.misses), (1, 1));
    assert_eq!(figures.cache.capacity, 10_000);
}

#[test]
fn a_list_that_cannot_be_read_is_named_and_the_others_are_in_use() {
    let dir = Scratch::new();
    let lists = vec![
        list("gone", dir.0.join("gone"), 0.5),
        list("page", dir.write("page", "<html>\n"), 0.5),
        list("good", dir.write("good", "198.51.100.7\nnonsense\n"), 0.5),
    ];
    let service = Service::new(&GeoIp::default(), &Reputation { lists }, &dir.0);
    let said = service.load();
    assert_eq!(said.len(), 2);
    assert!(said[0].starts_with("reputation list gone: cannot read "), "{said:?}");
    assert!(said[1].contains("is the kind right?"), "{said:?}");
    assert_eq!(service.score(ip("198.51.100.7")), Some(50));
    let figures = service.figures();
    assert_eq!((figures.lists[2].entries, figures.lists[2].skipped), (1, 1));
    assert!(figures.lists[0].error.is_some() && figures.lists[2].error.is_none());
}

#[test]
fn a_changed_list_is_taken_while_others_ask() {
    let dir = Scratch::new();
    let path = dir.write("a", "198.51.100.7\n");
    let config = Reputation { lists: vec![list("a", path.clone(), 0.5)] };
    let service = Arc::new(Service::new(&GeoIp::default(), &config, &dir.0));
    let _running = service.run().expect("threads");
    eventually("the first load", || service.score(ip("198.51.100.7")) == Some(50));
    std::fs::write(&path, "203.0.113.9\n").expect("a file");
    eventually("the reload", || service.score(ip("203.0.113.9")) == Some(50));
    assert_eq!(service.score(ip("198.51.100.7")), None);
    // Nonsense in its place: what was known stays.
    std::fs::write(&path, "<html>\n").expect("a file");
    eventually("the complaint", || service.figures().lists[0].error.is_some());
    assert_eq!(service.score(ip("203.0.113.9")), Some(50));
}

#[test]
fn a_reload_changes_what_the_cache_has_answered() {
    let dir = Scratch::new();
    let path = dir.write("c", database("Country", &[("198.51.100.0", 24, country("DE"))]));
    let geoip = GeoIp { country: Some(path.clone()), ..GeoIp::default() };
    let service = Service::new(&geoip, &Reputation::default(), &dir.0);
    service.load();
    let code = || service.facts(ip("198.51.100.1")).place.as_ref().and_then(|p| p.country.clone());
    assert_eq!(code().as_deref(), Some("DE"));
    std::fs::write(path, database("Country", &[("198.51.100.0", 24, country("FR"))])).expect("a file");
    service.load();
    assert_eq!(code().as_deref(), Some("FR"));
}

#[test]
fn a_configuration_that_cannot_work_is_refused_by_key() {
    let good = || list("a", "/x".into(), 0.5);
    let check = |list: List, expected: &str| {
        let error = Reputation { lists: vec![list] }.validate().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    assert_eq!(Reputation { lists: vec![good()] }.validate(), Ok(()));
    check(List { name: "../x".into(), ..good() }, "lists.0.name");
    check(List { weight: 0.0, ..good() }, "lists.0.weight");
    check(List { weight: f64::NAN, ..good() }, "lists.0.weight");
    check(List { url: Some("https://x.example".into()), ..good() }, "not both");
    check(List { path: None, ..good() }, "give path or url");
    check(List { path: None, url: Some("ftp://x.example".into()), ..good() }, "lists.0.url");
    check(List { kind: Kind::Crowdsec, ..good() }, "needs the url");
    check(
        List { kind: Kind::Crowdsec, path: None, url: Some("http://127.0.0.1:1".into()), ..good() },
        "key_file",
    );
    check(List { refresh_s: Some(1), ..good() }, "refresh_s");
    let twice = Reputation { lists: vec![good(), good()] };
    assert!(twice.validate().expect_err("two").to_string().contains("two lists 'a'"));
    let mut geoip = GeoIp::default();
    assert_eq!(geoip.validate(), Ok(()));
    geoip.web.url = Some("https://x.example/".into());
    assert!(geoip.validate().expect_err("no place").to_string().contains("{ip}"));
    geoip.web.url = Some("https://x.example/{ip}?key={token}".into());
    assert!(geoip.validate().expect_err("no token").to_string().contains("{token}"));
    geoip.web.token_env = Some("KEY".into());
    assert_eq!(geoip.validate(), Ok(()));
}
