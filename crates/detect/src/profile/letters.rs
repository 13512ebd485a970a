//! Names as the eye reads them: which domain somebody registered, and whether letters look drawn by lot.
//!
//! [`surprise`] is the mean number of bits by which the next letter of a label surprises someone who knows which letters
//! follow each other in English and Spanish. Words and names that people make up come out near 4, letters drawn evenly
//! near 6.4, hexadecimal digits near 5.8.

/// Bits of surprise, rounded, of each letter (column) after each letter (row), both from a to z; at most 9.
///
/// Counted over 1,805 different words (9,386 pairs of letters) of this project's documentation and of English and Spanish
/// prose written for the purpose, accents left out, with eight imagined pairs for each row so that nothing is impossible.
const AFTER: [&[u8; 26]; 26] = [
    b"95349759576343959343677959",
    b"39993999369399379457399959",
    b"39593993494589289673599979",
    b"49952958399777369439588969",
    b"48435669799553857224956689",
    b"39793399299479399494599969",
    b"39992974399664499356399969",
    b"27792999399967299565799979",
    b"57444559997452479543859797",
    b"37773777487776378646277878",
    b"66881999399593699828599999",
    b"39852779396397399845569959",
    b"35892999399949339957499999",
    b"49433539497775499933679979",
    b"66557659796442559345464899",
    b"27983896499389369354479989",
    b"67776777688776678666077888",
    b"38652769396676389634568959",
    b"59582794396667447942495969",
    b"38692893399799379335596959",
    b"55553769499443959333999899",
    b"39991999299798499888699799",
    b"39992993399494399548999979",
    b"47353575287556638664777858",
    b"78574888788454338723785888",
    b"36662666576665367555666767",
];
/// Bits of a change from letter to digit or back: names have one such place, random ones many.
const SWITCH_BITS: u32 = 8;
/// Bits of a digit after a digit: log₂ 10, rounded.
const DIGIT_BITS: u32 = 3;
/// Bits of a byte that host names cannot have (RFC 952, RFC 1123).
const STRANGE_BITS: u32 = 9;
/// Labels shorter than this say too little.
const SHORTEST: usize = 7;
/// Mean bits from which a label counts as random: between words, of which 1 in 8 are above (mostly abbreviations), and
/// letters drawn evenly, of which 1 in 16 of length seven are below, 1 in 45 of length twelve.
const RANDOM_BITS: f64 = 5.0;

/// Second-level labels under which registries of countries give out names at the third level, as in `example.co.uk`.
/// Not the public suffix list: what is missing here makes many domains look like one.
fn is_second_level(label: &str) -> bool {
    matches!(
        label,
        "ac" | "asso"
            | "co"
            | "com"
            | "edu"
            | "gob"
            | "gouv"
            | "gov"
            | "govt"
            | "gub"
            | "id"
            | "int"
            | "ltd"
            | "mil"
            | "ne"
            | "net"
            | "nom"
            | "or"
            | "org"
            | "plc"
            | "sch"
            | "web"
    )
}

/// Top-level labels that nobody registers names under: reverse lookup, and names that stay inside (RFC 6761, RFC 6762,
/// RFC 8375, RFC 9476, RFC 7686).
fn is_unregistered(label: &str) -> bool {
    matches!(
        label,
        "arpa"
            | "local"
            | "localdomain"
            | "localhost"
            | "lan"
            | "home"
            | "internal"
            | "intranet"
            | "corp"
            | "alt"
            | "onion"
            | "test"
            | "invalid"
            | "workgroup"
    )
}

/// Domains under which a provider gives names to whoever asks, so that the label before them is the one that was chosen:
/// dynamic DNS, which some algorithms build on. A few of the largest; the others make many owners look like one.
fn is_given_out(domain: &str) -> bool {
    matches!(
        domain,
        "ddns.net"
            | "duckdns.org"
            | "dyndns.org"
            | "dynserv.com"
            | "dynu.net"
            | "hopto.org"
            | "mooo.com"
            | "no-ip.biz"
            | "no-ip.org"
            | "sytes.net"
            | "yi.org"
            | "zapto.org"
    )
}

/// A name split where its owner's part begins: what is below the registered domain, and that domain.
///
/// The domain is the last two labels, three where the last is a country's (two letters) and the one before it is such as
/// `co`, and where a provider gives out names below the two. `None` for single labels and for names that nobody registers.
pub(crate) fn registered(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_suffix('.').unwrap_or(name);
    // Names are short: bytes one by one cost less than a search made for long texts.
    let mut dots = name.bytes().enumerate().rev().filter(|(_, b)| *b == b'.').map(|(at, _)| at);
    let last = dots.next()?;
    let top = name.get(last + 1..)?;
    if is_unregistered(top) {
        return None;
    }
    let mut begin = dots.next();
    let second = name.get(begin.map_or(0, |at| at + 1)..last)?;
    if top.len() == 2 && is_second_level(second) {
        // Without a third label it is a suffix, not a domain.
        begin?;
        begin = dots.next();
    }
    match begin {
        Some(at) if is_given_out(name.get(at + 1..)?) => {
            let before = dots.next();
            Some((before.map_or(Some(""), |at| name.get(..at))?, name.get(before.map_or(0, |at| at + 1)..)?))
        }
        Some(at) => Some((name.get(..at)?, name.get(at + 1..)?)),
        None => Some(("", name)),
    }
}

/// Mean bits of surprise of a label, hyphens passed over; `None` for labels too short to tell.
pub(crate) fn surprise(label: &str) -> Option<f64> {
    if label.len() < SHORTEST {
        return None;
    }
    let (mut bits, mut pairs) = (0, 0u32);
    let mut before = None;
    for byte in label.bytes() {
        if matches!(byte, b'-' | b'_') {
            before = None;
            continue;
        }
        if let Some(before) = before {
            bits += follow(before, byte);
            pairs += 1;
        }
        before = Some(byte);
    }
    (pairs > 0).then(|| f64::from(bits) / f64::from(pairs))
}

/// Whether a label looks drawn by lot.
pub(crate) fn is_random(label: &str) -> bool {
    surprise(label).is_some_and(|bits| bits >= RANDOM_BITS)
}

/// Bits of one byte after another.
fn follow(before: u8, byte: u8) -> u32 {
    let letter = |b: u8| b.to_ascii_lowercase().checked_sub(b'a').map(usize::from).filter(|n| *n < 26);
    match (letter(before), letter(byte)) {
        (Some(row), Some(column)) => u32::from(AFTER[row][column] - b'0'),
        _ if before.is_ascii_digit() && byte.is_ascii_digit() => DIGIT_BITS,
        _ if before.is_ascii_alphanumeric() && byte.is_ascii_alphanumeric() => SWITCH_BITS,
        _ => STRANGE_BITS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_end_where_registries_begin() {
        for (name, expected) in [
            ("example.com", Some(("", "example.com"))),
            ("www.example.com", Some(("www", "example.com"))),
            ("a.b.c.example.co.uk", Some(("a.b.c", "example.co.uk"))),
            ("example.co.uk.", Some(("", "example.co.uk"))),
            ("a.co.example", Some(("a", "co.example"))),
            ("co.uk", None),
            ("a.b.host.duckdns.org", Some(("a.b", "host.duckdns.org"))),
            ("host.duckdns.org", Some(("", "host.duckdns.org"))),
            ("duckdns.org", Some(("", "duckdns.org"))),
            ("localhost", None),
            ("", None),
            ("1.0.0.10.in-addr.arpa", None),
            ("printer.local", None),
            ("..", Some(("", "."))),
            ("x..", Some(("", "x."))),
        ] {
            assert_eq!(registered(name), expected, "{name:?}");
        }
    }

    #[test]
    fn words_are_told_from_letters_by_lot() {
        for word in [
            "autoinmune",
            "wikipedia",
            "universidad",
            "photographers",
            "computadoras",
            "weather24",
            "short",
            "open-office",
        ] {
            assert!(!is_random(word), "{word} {:?}", surprise(word));
        }
        for lot in ["xkqvbzrwtjhp", "q7f3k9x2m1z8", "hvjqwxzkyg", "7f3a9c02e1b84d56", "\\200\\251\\013\\255"]
        {
            assert!(is_random(lot), "{lot} {:?}", surprise(lot));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_taken(name in "[a-z.é\\\\-]{0,40}|\\PC{0,20}") {
            if let Some((below, domain)) = registered(&name) {
                let whole = name.strip_suffix('.').unwrap_or(&name);
                proptest::prop_assert!(whole.starts_with(below) && whole.ends_with(domain), "{name:?}");
            }
            proptest::prop_assert!(surprise(&name).is_none_or(|bits| (0.0..=9.0).contains(&bits)));
        }
    }

    #[test]
    fn hyphens_alone_say_nothing() {
        assert_eq!(surprise("-------"), None);
    }
}
