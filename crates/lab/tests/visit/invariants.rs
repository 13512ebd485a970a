//! What must hold of everything that reads what strangers' servers say; the fuzz targets check the same.
//!
//! The fuzz targets include this file beside the modules themselves, so it names them by the root of its crate.

use crate::page::{self, links};
use crate::robots::{MAX_RULES, Robots};
use crate::url::{MAX_URL, Url};

/// A robots.txt: any bytes are one, rules are bounded, asking is total, and a wish for everything is heeded.
pub(crate) fn robots(input: &[u8]) {
    let (file, target) = match input.iter().position(|b| *b == 0) {
        Some(at) => (&input[..at], String::from_utf8_lossy(&input[at + 1..]).into_owned()),
        None => (input, "/".to_owned()),
    };
    let robots = Robots::parse(file, "autoinmune");
    assert!(robots.len() <= MAX_RULES);
    assert!(robots.allows("/robots.txt"));
    assert!(robots.delay().is_none_or(|d| (0.0..=86_400.0).contains(&d)));
    let _ = robots.allows(&target);
    // A further group of ours that disallows all leaves only what is allowed in so many words.
    let mut more = b"User-agent: autoinmune\nDisallow: /\n".to_vec();
    more.extend(file);
    let strict = Robots::parse(&more, "Autoinmune");
    let own = file.to_ascii_lowercase().windows(6).any(|w| w.starts_with(b"allow") && w[5] != b'a');
    assert!(own || !strict.allows("/anything"), "{:?}", String::from_utf8_lossy(file));
}

/// A page: what it refers to is bounded, absolute, and stays with the page's site.
pub(crate) fn page(input: &[u8]) {
    let Some(base) = Url::parse("https://www.example.org/a/b?c") else { return };
    let found = links(input, &base);
    assert!(found.parts.len() <= page::MAX_LINKS && found.pages.len() <= page::MAX_LINKS);
    for part in &found.parts {
        assert!(part.is_secure());
        assert!(part.host() == "example.org" || part.host().ends_with(".example.org"), "{part}");
    }
    for page in &found.pages {
        assert_eq!(page.origin(), base.origin());
        assert!(!page.target().contains('?'), "{page}");
    }
    for url in found.parts.iter().chain(&found.pages) {
        reads_itself(url);
    }
    let text = String::from_utf8_lossy(input);
    for url in [Url::parse(&text), base.join(&text)].into_iter().flatten() {
        reads_itself(&url);
    }
}

/// An address is read again as what it is, can be sent in a request line, and has no way up.
fn reads_itself(url: &Url) {
    let text = url.to_string();
    if text.len() <= MAX_URL {
        assert_eq!(Url::parse(&text).as_ref(), Some(url), "{text}");
    }
    assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text}");
    assert!(url.target().starts_with('/') && !url.path().split('/').any(|s| s == ".."), "{text}");
}
