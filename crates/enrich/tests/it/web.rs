//! Lists and answers from the web, by real servers on loopback.

use crate::support::{Scratch, eventually, ip, server};
use enrich::config::{GeoIp, List, Reputation, Web};
use enrich::list::Kind;
use enrich::{Refreshed, Service};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn fetched(name: &str, kind: Kind, url: String, key: Option<&Path>) -> List {
    List {
        name: name.into(),
        kind,
        path: None,
        url: Some(url),
        weight: 0.5,
        refresh_s: Some(5),
        key_file: key.map(Path::to_path_buf),
        key_env: None,
    }
}

fn service(lists: Vec<List>, dir: &Path) -> Service {
    Service::new(&GeoIp::default(), &Reputation { lists }, dir)
}

/// The one outcome of a fetch of everything.
fn fetch(service: &Service) -> Refreshed {
    let mut outcomes = service.fetch(|_| true);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).1
}

#[test]
fn a_list_is_fetched_kept_and_asked_for_again_only_if_it_changed() {
    let dir = Scratch::new();
    let (url, asked) = server(vec![
        (200, "etag: \"v1\"\r\n", "198.51.100.7\n".into()),
        (304, "", String::new()),
        (500, "", "oops".into()),
        (200, "", "<html>".into()),
        (200, "", "203.0.113.9\n".into()),
    ]);
    let lists = || vec![fetched("a", Kind::Plain, url.clone(), None)];
    let first = service(lists(), &dir.0);
    assert_eq!(first.load(), Vec::<String>::new(), "there is no copy yet, and that is no failure");
    assert_eq!(fetch(&first), Refreshed::Changed);
    assert_eq!(first.score(ip("198.51.100.7")), Some(50));
    assert_eq!(fetch(&first), Refreshed::Same);
    assert_eq!(fetch(&first), Refreshed::Failed(format!("{url}: the server answered with status 500")));
    assert!(matches!(fetch(&first), Refreshed::Failed(why) if why.contains("is the kind right?")));
    assert_eq!(first.score(ip("198.51.100.7")), Some(50), "what was known stays");
    // A new process begins with the copy.
    let second = service(lists(), &dir.0);
    assert_eq!(second.load(), Vec::<String>::new());
    assert_eq!(second.score(ip("198.51.100.7")), Some(50));
    assert_eq!(fetch(&second), Refreshed::Changed);
    assert_eq!(second.score(ip("203.0.113.9")), Some(50));
    let requests: Vec<Vec<String>> = asked.iter().collect();
    assert!(requests[0].iter().any(|l| l.to_lowercase().starts_with("user-agent: autoinmune/")));
    assert!(requests[1].iter().any(|l| l.to_lowercase() == "if-none-match: \"v1\""), "{:?}", requests[1]);
}

#[test]
fn a_server_that_is_not_there_or_sends_too_much_is_a_failure_with_a_reason() {
    let dir = Scratch::new();
    let service = service(vec![fetched("a", Kind::Plain, "http://127.0.0.1:9/x".into(), None)], &dir.0);
    assert!(matches!(fetch(&service), Refreshed::Failed(why) if why.starts_with("http://127.0.0.1:9/x: ")));
}

#[test]
fn decisions_are_followed_with_the_key_and_asked_for_anew_after_a_failure() {
    let dir = Scratch::new();
    let key = dir.write("key", "s3cret\n");
    let decision = |id: u32, value: &str| {
        format!(
            r#"{{"id":{id},"duration":"4h","scenario":"x/ssh-bf","scope":"Ip","type":"ban","value":"{value}"}}"#
        )
    };
    let (url, asked) = server(vec![
        (200, "", format!(r#"{{"new":[{}],"deleted":null}}"#, decision(1, "198.51.100.1"))),
        (
            200,
            "",
            format!(
                r#"{{"new":[{}],"deleted":[{}]}}"#,
                decision(2, "198.51.100.2"),
                decision(1, "198.51.100.1")
            ),
        ),
        (403, "", String::new()),
        (302, "location: http://127.0.0.1:9/\r\n", String::new()),
        (200, "", format!(r#"{{"new":[{}]}}"#, decision(3, "198.51.100.3"))),
    ]);
    let service = service(vec![fetched("lapi", Kind::Crowdsec, format!("{url}/"), Some(&key))], &dir.0);
    let known = || -> Vec<u8> {
        (1..=3).filter(|n| service.score(ip(&format!("198.51.100.{n}"))).is_some()).collect()
    };
    for (expected, holds) in
        [(true, vec![1]), (true, vec![2]), (false, vec![2]), (false, vec![2]), (true, vec![3])]
    {
        assert_eq!(fetch(&service) == Refreshed::Changed, expected);
        assert_eq!(known(), holds);
    }
    let requests: Vec<Vec<String>> = asked.iter().collect();
    let lines: Vec<&str> = requests.iter().map(|r| r[0].as_str()).collect();
    let line = |all| format!("GET /v1/decisions/stream?startup={all}&scopes=ip,range HTTP/1.1");
    assert_eq!(
        lines,
        [line(true), line(false), line(false), line(true), line(true)],
        "a lost answer is made good"
    );
    assert!(requests.iter().all(|r| r.iter().any(|l| l.to_lowercase() == "x-api-key: s3cret")));
}

#[test]
fn a_key_that_is_missing_is_said() {
    let dir = Scratch::new();
    let lists = vec![fetched("lapi", Kind::Crowdsec, "http://127.0.0.1:9".into(), Some(&dir.0.join("no")))];
    assert!(matches!(fetch(&service(lists, &dir.0)), Refreshed::Failed(why) if why.contains("cannot read")));
}

fn asking(url: String, daily_budget: u32, dir: &Path) -> Arc<Service> {
    let web = Web { url: Some(url), daily_budget, timeout_ms: 2000, ..Web::default() };
    let geoip = GeoIp { web, ..GeoIp::default() };
    Arc::new(Service::new(&geoip, &Reputation::default(), dir))
}

#[test]
fn the_web_answers_later_and_what_it_said_is_remembered() {
    let dir = Scratch::new();
    let token = dir.write("token", "t0ken");
    let (url, asked) = server(vec![(
        200,
        "",
        r#"{"ip":"198.51.100.7","country_code":"FR","city":"Lyon","asn":"AS64496","org":"Example Hosting"}"#
            .into(),
    )]);
    let web = Web {
        url: Some(format!("{url}/{{ip}}/json/?key={{token}}")),
        token_file: Some(token),
        timeout_ms: 2000,
        ..Web::default()
    };
    let geoip = GeoIp { web, ..GeoIp::default() };
    assert_eq!(geoip.validate(), Ok(()));
    let service = Arc::new(Service::new(&geoip, &Reputation::default(), &dir.0));
    let addr = ip("198.51.100.7");
    assert!(!service.facts(addr).pending, "a service that is not running asks nobody");
    let service = Arc::new(Service::new(&geoip, &Reputation::default(), &dir.0));
    let _running = service.run().expect("threads");
    assert!(service.facts(addr).pending);
    eventually("the answer", || !service.facts(addr).pending);
    let facts = service.facts(addr);
    assert_eq!(facts.place.as_ref().and_then(|p| p.country.as_deref()), Some("FR"));
    assert_eq!(facts.network.as_ref().map(|n| n.asn), Some(64496));
    let request = asked.recv_timeout(Duration::from_secs(5)).expect("a request");
    assert_eq!(request[0], "GET /198.51.100.7/json/?key=t0ken HTTP/1.1");
    // Private addresses are nobody's business, and are answered at once.
    assert!(!service.facts(ip("192.168.1.1")).pending);
    let figures = service.figures().web.expect("figures");
    assert_eq!((figures.asked, figures.answered, figures.today), (1, 1, 1));
}

#[test]
fn a_budget_is_kept_over_restarts() {
    let dir = Scratch::new();
    let answer = || (200, "", r#"{"country_code":"FR"}"#.to_owned());
    let (url, asked) = server(vec![answer(), answer(), answer()]);
    let url = format!("{url}/{{ip}}");
    let service = asking(url.clone(), 2, &dir.0);
    let running = service.run().expect("threads");
    for n in 1..=3 {
        assert!(service.facts(ip(&format!("198.51.100.{n}"))).pending);
    }
    eventually("the refusal", || service.figures().web.is_some_and(|f| f.refused >= 1));
    assert_eq!(service.figures().web.map(|f| (f.asked, f.today)), Some((2, 2)));
    drop(running);
    let again = asking(url, 2, &dir.0);
    let _running = again.run().expect("threads");
    assert!(again.facts(ip("198.51.100.9")).pending);
    eventually("the refusal", || again.figures().web.is_some_and(|f| f.refused >= 1));
    assert_eq!(again.figures().web.map(|f| f.asked), Some(0));
    assert_eq!(asked.try_iter().count(), 2);
}

#[test]
fn a_service_that_fails_is_left_alone_for_a_while() {
    let dir = Scratch::new();
    let (url, _asked) = server(vec![(429, "", String::new())]);
    let service = asking(format!("{url}/{{ip}}"), 1000, &dir.0);
    let _running = service.run().expect("threads");
    assert!(service.facts(ip("198.51.100.1")).pending);
    eventually("the failure", || service.figures().web.is_some_and(|f| f.failed == 1));
    assert!(service.facts(ip("198.51.100.2")).pending);
    eventually("the pause", || service.figures().web.is_some_and(|f| f.refused >= 1));
    let figures = service.figures().web.expect("figures");
    assert_eq!(figures.error.as_deref(), Some("the server answered with status 429"));
    assert_eq!(figures.asked, 1);
}
