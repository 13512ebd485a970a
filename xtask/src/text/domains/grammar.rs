//! Ordinary names by grammars of our own: what captures have too little of, and what looks like drawn and is not.

use super::words::WORDS;
use crate::text::draw::{Draw, family};

/// Syllables of Chinese as it is spelled in domains.
const PINYIN: [&str; 48] = [
    "ai", "an", "bai", "bao", "bei", "cai", "chang", "chen", "da", "dian", "dong", "du", "fang", "feng",
    "gao", "guo", "hao", "hong", "hua", "huang", "ji", "jia", "jing", "jun", "kai", "li", "liang", "ling",
    "long", "mei", "ming", "nan", "peng", "qi", "qing", "shan", "shi", "tao", "tian", "wang", "wei", "xia",
    "xin", "yang", "yi", "you", "zhang", "zhong",
];
/// What trackers, caches and providers put before, behind or between.
const TECHNICAL: [&str; 48] = [
    "ad", "ads", "adn", "adsrv", "adx", "akamai", "api", "app", "aws", "cache", "cdn", "cloud", "cnt", "cs",
    "data", "dmp", "dns", "edge", "fb", "gateway", "gtm", "host", "img", "js", "log", "metrics", "mx", "net",
    "ns", "pix", "pixel", "rtb", "rum", "sdk", "serv", "srv", "ssl", "stat", "static", "stats", "sync",
    "sys", "tag", "tech", "track", "trk", "web", "xs",
];
const BEFORE: [&str; 14] =
    ["my", "the", "get", "go", "e", "i", "pro", "top", "best", "new", "try", "all", "web", "our"];
const BEHIND: [&str; 16] = [
    "24", "365", "online", "shop", "hub", "ly", "ify", "app", "hq", "lab", "labs", "now", "usa", "tv", "pro",
    "info",
];
/// What devices and installers call a host, before what they draw.
const DEVICES: [(&str, &str, usize); 12] = [
    ("desktop-", "0123456789abcdefghijklmnopqrstuvwxyz", 7),
    ("laptop-", "0123456789abcdefghijklmnopqrstuvwxyz", 8),
    ("win-", "0123456789abcdefghijklmnopqrstuvwxyz", 11),
    ("android-", "0123456789abcdef", 16),
    ("esp-", "0123456789abcdef", 6),
    ("npi", "0123456789abcdef", 6),
    ("brw", "0123456789abcdef", 12),
    ("amazon-", "0123456789abcdef", 9),
    ("epson", "0123456789abcdef", 6),
    ("chromecast-", "0123456789abcdef", 8),
    ("shelly-", "0123456789abcdef", 6),
    ("ip-10-0-0-", "0123456789", 2),
];
/// How many names each grammar makes.
const EACH: usize = 1500;

/// Names with what they share with their like, so that these are held out together.
pub(super) fn all(given: &[String], family_names: &[String]) -> Vec<(String, u64)> {
    let mut draw = Draw::new(20_261_122, 0);
    let mut out = Vec::new();
    let mut add = |text: String, of: &str| out.push((text.replace(' ', ""), family(of)));
    for _ in 0..EACH {
        let (one, two, three) = (draw.of(&WORDS), draw.of(&WORDS), draw.of(&WORDS));
        add(format!("{one}{two}"), one);
        add(format!("{one}-{two}"), one);
        add(format!("{one}{two}{three}"), one);
        add(format!("{}{one}{}", draw.of(&BEFORE), draw.of(&BEHIND)), one);
        add(slip(&format!("{one}{two}"), &mut draw), one);
        let (first, last) = (draw.of(given), draw.of(family_names));
        add(format!("{first}{last}"), &last);
        add(format!("{last}{one}"), &last);
        add(format!("{last}-{}", draw.of(&BEHIND)), &last);
        let (tech, other) = (draw.of(&TECHNICAL), draw.of(&TECHNICAL));
        add(format!("{tech}{}{other}", draw.of(&["", "-", "x", "2", "s"])), tech);
        add(format!("{one}{tech}"), tech);
        add(format!("{tech}{}{one}", draw.number(100)), tech);
        let [a, b, c] = [(); 3].map(|()| draw.of(&PINYIN));
        add(format!("{a}{b}{c}"), a);
        add(format!("{a}{b}{}", draw.number(1000)), a);
        // Companies call themselves by first letters, and add what they do.
        let length = 2 + draw.number(3);
        let letters = draw.characters("abcdefghijklmnoprstuvw", length);
        add(format!("{letters}{one}"), &letters);
        add(format!("{letters}-{two}"), &letters);
        add(format!("{}{one}", draw.number(1000)), one);
        let (before, alphabet, length) = draw.of(&DEVICES);
        add(format!("{before}{}", draw.characters(alphabet, length)), before);
        let foreign = foreign(&mut draw);
        add(format!("xn--{}", punycode(&foreign)), &foreign);
    }
    out
}

/// A slip of the keyboard: a letter left out, doubled, or two exchanged.
fn slip(text: &str, draw: &mut Draw) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = draw.number(letters.len().saturating_sub(1).max(1));
    let other = (at + 1).min(letters.len() - 1);
    match draw.number(3) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        _ => letters.swap(at, other),
    }
    letters.into_iter().collect()
}

/// A word with letters beyond ASCII: German, Russian or Chinese in look.
fn foreign(draw: &mut Draw) -> String {
    let length = 2 + draw.number(5);
    match draw.number(3) {
        0 => {
            let word = draw.of(&WORDS);
            word.replacen(['a', 'o', 'u'], draw.of(&["ä", "ö", "ü", "é", "ñ"]), 1) + draw.of(&["", "ß", "ü"])
        }
        1 => draw.characters("абвгдежзийклмнопрстуфхцчшыэюя", 2 * length),
        _ => draw.characters("中国公司网络北京上海大学新闻电影音乐游戏商城医院天气", length),
    }
}

/// Punycode, RFC 3492 §6.3, of a short label.
fn punycode(text: &str) -> String {
    const BASE: u32 = 36;
    let adapt = |delta: u32, points: u32, first: bool| {
        let mut delta = if first { delta / 700 } else { delta / 2 };
        delta += delta / points;
        let mut k = 0;
        while delta > 35 * 26 / 2 {
            delta /= 35;
            k += BASE;
        }
        k + 36 * delta / (delta + 38)
    };
    let digit = |d: u32| char::from(if d < 26 { b'a' + d as u8 } else { b'0' + (d - 26) as u8 });
    let mut out: String = text.chars().filter(char::is_ascii).collect();
    let basic = out.len() as u32;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (128_u32, 0_u32, 72_u32, basic);
    let length = text.chars().count() as u32;
    while handled < length {
        let Some(next) = text.chars().map(|c| c as u32).filter(|c| *c >= n).min() else { break };
        delta += (next - n) * (handled + 1);
        n = next;
        for c in text.chars().map(|c| c as u32) {
            if c < n {
                delta += 1;
            } else if c == n {
                let (mut q, mut k) = (delta, BASE);
                loop {
                    let t = k.saturating_sub(bias).clamp(1, 26);
                    if q < t {
                        break;
                    }
                    out.push(digit(t + (q - t) % (BASE - t)));
                    q = (q - t) / (BASE - t);
                    k += BASE;
                }
                out.push(digit(q));
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta += 1;
        n += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_letters_are_spelled_as_registries_spell_them() {
        for (text, expected) in
            [("bücher", "bcher-kva"), ("münchen", "mnchen-3ya"), ("中国", "fiqs8s"), ("рф", "p1ai")]
        {
            assert_eq!(punycode(text), expected, "{text}");
        }
    }
}
