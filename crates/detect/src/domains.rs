//! Names of domains: whether somebody chose them, or an algorithm drew them.
//!
//! A classifier of n-grams ([`learn::text`]) reads the label under which a domain was registered: most of what stands left of
//! it is chosen by machines, and means nothing. docs/domains.md says how it was trained and how often it is wrong.

use crate::profile::letters::registered;
use learn::text::{Classifier, Gram};

/// The shipped classifier, made by `cargo xtask text`.
const MODEL: &[u8] = include_bytes!("../../../models/domains.bin");

/// Labels shorter than this say too little: four letters drawn by lot are an abbreviation. The shortest names of known
/// families that are worth the risk have six.
pub const SHORTEST: usize = 6;
/// Log odds are cut off here, so that no single name outweighs what the others say; natural logarithm.
pub const MOST_ODDS: f64 = 6.0;

/// Log odds from which a name counts as drawn: 20 to 1. Means are compared with lower bounds, as what several names say adds
/// up.
pub const DRAWN: f64 = 3.0;

/// What a label is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DomainKind {
    /// Chosen by somebody: words, names, abbreviations; and what machines call themselves.
    Ordinary,
    /// Letters or digits drawn by lot, or of a digest.
    Random,
    /// Drawn by lot so that it can be said: consonants and vowels in turn, syllables.
    Pronounceable,
}

impl DomainKind {
    /// Every kind, in the order of the classifier's classes.
    pub const ALL: [Self; 3] = [Self::Ordinary, Self::Random, Self::Pronounceable];

    /// The name in documents and in the model.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Random => "random",
            Self::Pronounceable => "pronounceable",
        }
    }
}

/// The label that was registered: of `www.example.co.uk`, `example`. `None` for names that nobody registers, such as those of
/// reverse lookup or of the local network, for labels below [`SHORTEST`] and for bytes that host names do not have.
#[must_use]
pub fn label(name: &str) -> Option<&str> {
    let (_, domain) = registered(name)?;
    let label = domain.split('.').next()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (label.len() >= SHORTEST && label.bytes().all(plain)).then_some(label)
}

/// Tells names that an algorithm drew from names that somebody chose.
#[derive(Clone, Debug)]
pub struct Domains {
    classifier: Classifier,
}

impl Domains {
    /// The shipped classifier.
    ///
    /// # Panics
    /// If the model this crate was built with is faulty, which a test rules out.
    #[must_use]
    pub fn builtin() -> Self {
        match learn::codec::from_bytes::<Classifier>(MODEL) {
            Ok(classifier) => Self::of(classifier),
            Err(fault) => panic!("the embedded model of domains is faulty: {fault}"),
        }
    }

    /// A classifier with the classes of [`DomainKind::ALL`].
    ///
    /// # Panics
    /// If it has others.
    #[must_use]
    pub fn of(classifier: Classifier) -> Self {
        let own = DomainKind::ALL.iter().map(|k| k.name());
        assert!(classifier.classes().iter().map(String::as_str).eq(own), "a model of other classes");
        Self { classifier }
    }

    /// Log odds that a label was drawn and not chosen, if either were as probable beforehand: natural logarithm, at most
    /// [`MOST_ODDS`] in size. 0 leaves it open.
    #[must_use]
    pub fn log_odds(&self, label: &str) -> f64 {
        let [ordinary, random, pronounceable] = self.probabilities(label);
        let drawn = random + pronounceable;
        (drawn.max(f64::MIN_POSITIVE) / ordinary.max(f64::MIN_POSITIVE)).ln().clamp(-MOST_ODDS, MOST_ODDS)
    }

    /// The `n` n-grams that said most for its having been drawn.
    #[must_use]
    pub fn reasons(&self, label: &str, n: usize) -> Vec<Gram> {
        let [_, random, pronounceable] = self.probabilities(label);
        let kind = if random >= pronounceable { DomainKind::Random } else { DomainKind::Pronounceable };
        self.classifier.reasons(label, kind as usize, n)
    }

    /// The probability of each kind, in the order of [`DomainKind::ALL`].
    fn probabilities(&self, label: &str) -> [f64; 3] {
        let mut all = [0.0; 3];
        for (to, p) in all.iter_mut().zip(self.classifier.predict(label)) {
            *to = f64::from(p);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_the_one_that_was_registered() {
        for (name, expected) in [
            ("www.example.com", Some("example")),
            ("d1a2b3c4e5f6g7.cloudfront.net", Some("cloudfront")),
            ("0a1b2c3d.bucket.s3.amazonaws.com", Some("amazonaws")),
            ("shop.example.co.uk", Some("example")),
            ("xkqvbzrwtjhp.ddns.net", Some("xkqvbzrwtjhp")),
            ("1.0.0.10.in-addr.arpa", None),
            ("qwkfhzmxpa.lan", None),
            ("qwkfhzmxpa", None),
            ("short.com", None),
            ("", None),
            ("\\200\\251\\013.com", None),
        ] {
            assert_eq!(label(name), expected, "{name}");
        }
    }

    #[test]
    fn the_shipped_classifier_knows_what_it_is_for() {
        let domains = Domains::builtin();
        for drawn in [
            "xkqvbzrwtjhp",
            "hvjqwxzkygab",
            "q7f3k9x2m1z8",
            "7f3a9c02e1b84d56a1b2c3d4e5f60718",
            "bucojewyrafiq",
        ] {
            assert!(domains.log_odds(drawn) > 1.0, "{drawn}: {}", domains.log_odds(drawn));
            assert!(!domains.reasons(drawn, 3).is_empty(), "{drawn}");
        }
        for chosen in
            ["wikipedia", "microsoft", "cloudfront", "doubleclick", "googlesyndication", "stackoverflow"]
        {
            assert!(domains.log_odds(chosen) < 0.0, "{chosen}: {}", domains.log_odds(chosen));
        }
    }

    #[test]
    fn whatever_the_label_is_the_odds_are_bounded() {
        let domains = Domains::builtin();
        for label in ["", "-", &"x".repeat(10_000), "\u{0}\u{2}\u{3}", "\u{1f980}"] {
            assert!(domains.log_odds(label).abs() <= MOST_ODDS, "{label:?}");
        }
    }
}
