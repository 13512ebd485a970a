//! The shipped lists, the documentation of limits, and what strangers' servers may say.

use crate::{invariants, robots};
use lab::visit::limit::Rate;
use lab::visit::sites::{Category, Endpoint, ServiceKind, is_name, shipped_services, shipped_sites};
use lab::visit::{MAX_THREADS, PRODUCT};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn shipped_sites_are_many_different_and_spread() {
    let sites = shipped_sites().expect("the shipped list is read");
    assert!(sites.len() >= 450, "{}", sites.len());
    let (mut countries, mut categories) = (BTreeMap::new(), BTreeMap::new());
    let (mut hosts, mut names, mut languages) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for site in &sites {
        assert!(site.url.is_secure(), "{} is not https", site.url);
        assert_eq!(site.url.port(), 443, "{}", site.url);
        assert!(is_name(site.url.host()) && site.url.host().contains('.'), "{}", site.url);
        assert!(hosts.insert(site.url.site().to_owned()), "{} stands twice", site.url);
        assert!(
            names.insert((site.belonging.country, site.belonging.category, site.name.clone())),
            "{} stands twice in its country and category",
            site.name
        );
        languages.insert(site.language.clone());
        *countries.entry(site.belonging.country).or_insert(0) += 1;
        *categories.entry(site.belonging.category).or_insert(0) += 1;
    }
    assert!(countries.len() >= 65, "{} countries", countries.len());
    let most = countries.values().max().copied().unwrap_or_default();
    assert!(most * 100 <= sites.len() * 15, "no country has more than 15 %: {countries:?}");
    for category in Category::ALL {
        assert!(categories.get(&category).is_some_and(|n| *n >= 30), "{category:?}: {categories:?}");
    }
    assert!(languages.len() >= 30, "{languages:?}");
}

#[test]
fn shipped_services_are_of_every_kind() {
    let services = shipped_services().expect("the shipped list is read");
    for kind in ServiceKind::ALL {
        let of: Vec<_> = services.iter().filter(|s| s.kind == kind).collect();
        assert!(of.len() >= 5, "{}: {}", kind.name(), of.len());
        let countries: BTreeSet<_> = of.iter().map(|s| s.belonging.country).collect();
        assert!(countries.len() >= 3, "{}: {countries:?}", kind.name());
        for service in of {
            match &service.endpoint {
                Endpoint::Web(url) => assert!(url.is_secure() && is_name(url.host()), "{url}"),
                Endpoint::Host { host, .. } => assert!(is_name(host), "{host}"),
            }
        }
    }
}

/// docs/generate.md states the limits; this keeps what it states true.
#[test]
fn the_documentation_states_the_limits_as_they_are() {
    let text = std::fs::read_to_string(repository().join("docs/generate.md")).expect("docs/generate.md");
    let seconds = |rate: Rate| rate.interval / 1_000_000_000;
    let sites = shipped_sites().expect("sites");
    let countries: BTreeSet<_> = sites.iter().map(|s| s.belonging.country).collect();
    for fact in [
        format!("| web site | one request in {} s |", seconds(Rate::WEB)),
        format!("at most {} at once, {} under way", Rate::WEB.burst, Rate::WEB.in_flight),
        format!("| time server | one request in {} s |", seconds(Rate::NTP)),
        format!("| SSH server | one connection in {} s |", seconds(Rate::SSH)),
        format!("| name server | {} questions a second |", 1_000_000_000 / Rate::DNS.interval),
        format!("{} sites of {} countries", sites.len(), countries.len()),
        format!("`--threads` is at most {MAX_THREADS}"),
        format!("product token `{PRODUCT}`"),
    ] {
        assert!(text.contains(&fact), "docs/generate.md does not say: {fact}");
    }
}

#[test]
fn seeds_of_the_fuzz_targets_hold() {
    for (target, check) in [("robots", invariants::robots as fn(&[u8])), ("page", invariants::page)] {
        let folder = repository().join("fuzz/seeds").join(target);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut read = 0;
        for file in files.flatten() {
            check(&std::fs::read(file.path()).expect("a seed"));
            read += 1;
        }
        assert!(read > 0, "{} has seeds", folder.display());
    }
}

/// Whether a pattern of robots.txt matches, in the plainest way: by trying everything.
fn matches_plainly(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        ([], _) => true,
        ([b'$'], path) => path.is_empty(),
        ([b'*', rest @ ..], path) => {
            (0..=path.len()).any(|at| path.get(at..).is_some_and(|p| matches_plainly(rest, p)))
        }
        ([a, rest @ ..], [b, path @ ..]) => a == b && matches_plainly(rest, path),
        (_, []) => false,
    }
}

/// A robots.txt of lines that mean something now and then.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("User-agent: *".to_owned()),
        Just("User-agent: autoinmune".to_owned()),
        Just("User-agent: other".to_owned()),
        "(Dis|)allow: /[ab*$%/]{0,6}".prop_map(|s| s),
        "Crawl-delay: [0-9.]{1,4}".prop_map(|s| s),
        "[ -~]{0,20}".prop_map(|s| s),
    ];
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n").into_bytes())
}

proptest! {
    #[test]
    fn wildcards_match_as_trying_everything_does(pattern in "/[ab*]{0,7}[$]{0,1}", path in "/[ab]{0,8}") {
        let file = format!("User-agent: *\nDisallow: {pattern}");
        let allowed = robots::Robots::parse(file.as_bytes(), "autoinmune").allows(&path);
        prop_assert_eq!(!allowed, matches_plainly(pattern.as_bytes(), path.as_bytes()), "{} {}", pattern, path);
    }

    #[test]
    fn robots_files_of_any_kind_keep_the_invariants(file in file(), target in "/[ab%/]{0,8}") {
        invariants::robots(&[&file[..], b"\0", target.as_bytes()].concat());
    }

    #[test]
    fn any_bytes_keep_the_invariants(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        invariants::robots(&bytes);
        invariants::page(&bytes);
    }

    #[test]
    fn pages_of_any_kind_keep_the_invariants(
        tags in prop::collection::vec(
            "<(a|img|link|script|style|!--) (href|src|rel)=['\"]{0,1}[a-z./:?#&;%@ ]{0,20}['\"]{0,1}>{0,1}",
            0..20,
        ),
    ) {
        invariants::page(tags.concat().as_bytes());
    }
}
