//! Names as families of malware draw them: generators of our own, after the shapes that published analyses describe.
//!
//! Sources: Plohmann et al., "A Comprehensive Measurement Study of Domain Generating Malware" (USENIX Security 2016),
//! Antonakakis et al., "From Throw-Away Traffic to Bots" (2012), Porras et al. on Conficker (2009), and reports on single
//! families. Letters, lengths and the way they are drawn are theirs; seeds and constants are not, so none of these names was
//! ever registered for its purpose.

use super::words::WORDS;
use crate::text::draw::Draw;
use detect::domains::DomainKind;

/// What a family is for here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Learnt from.
    Train,
    /// Sets the temperature.
    Calibrate,
    /// Measured only.
    Test,
}

/// How a family draws.
#[derive(Clone, Copy)]
enum Shape {
    /// Characters of an alphabet, evenly.
    Even(&'static str),
    /// Characters of an alphabet by a linear congruential generator, modulo the alphabet: close letters depend on each other.
    Congruential(&'static str),
    /// Hexadecimal digits of a digest, after a prefix.
    Digest(&'static str),
    /// Consonant and vowel in turn.
    Turns,
    /// As turns, but a letter of the same kind may follow.
    Loose,
    /// Syllables of two or three letters.
    Syllables,
    /// Syllables, and an ending of English.
    Ended,
    /// Two words.
    TwoWords(&'static str),
    /// Words until the length is reached.
    ManyWords,
    /// A fixed long name whose first four letters change.
    Changed,
}

/// A family.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) part: Part,
    /// `None` for families that string words together: nothing is learnt of them, as people do the same.
    pub(super) kind: Option<DomainKind>,
    shape: Shape,
    /// Least and greatest length, characters.
    length: (usize, usize),
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
/// Without the last letter: a slip that several families share.
const TO_Y: &str = "abcdefghijklmnopqrstuvwxy";
const ALL: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0123456789abcdef";
const CONSONANTS: &str = "bcdfghjklmnpqrstvwxz";
const VOWELS: &str = "aeiouy";

const fn family(
    name: &'static str,
    part: Part,
    kind: DomainKind,
    shape: Shape,
    least: usize,
    most: usize,
) -> Family {
    Family { name, part, kind: Some(kind), shape, length: (least, most) }
}

const fn of_words(name: &'static str, shape: Shape, least: usize, most: usize) -> Family {
    Family { name, part: Test, kind: None, shape, length: (least, most) }
}

use DomainKind::{Pronounceable, Random};
use Part::{Calibrate, Test, Train};
use Shape::{Changed, Congruential, Digest, Ended, Even, Loose, ManyWords, Syllables, Turns, TwoWords};

pub(super) const FAMILIES: [Family; 32] = [
    family("conficker", Train, Random, Even(LETTERS), 6, 11),
    family("cryptolocker", Train, Random, Congruential(TO_Y), 12, 15),
    family("ramnit", Train, Random, Congruential(TO_Y), 8, 19),
    family("necurs", Train, Random, Even(TO_Y), 7, 21),
    family("locky", Train, Random, Congruential(TO_Y), 6, 17),
    family("qakbot", Train, Random, Even(LETTERS), 8, 25),
    family("dircrypt", Train, Random, Congruential(LETTERS), 8, 20),
    family("murofet", Train, Random, Even(ALL), 32, 47),
    family("corebot", Train, Random, Even("abcdefghijklmnopqrstuvwxy012345678"), 12, 23),
    family("gameover", Train, Random, Even(ALL), 20, 28),
    family("bamital", Train, Random, Digest(""), 32, 32),
    family("simda", Train, Pronounceable, Turns, 7, 11),
    family("kraken", Train, Pronounceable, Ended, 9, 15),
    family("pushdo", Train, Pronounceable, Loose, 8, 12),
    family("vawtrak", Train, Pronounceable, Syllables, 8, 14),
    family("ranbyus", Calibrate, Random, Congruential(TO_Y), 14, 14),
    family("chinad", Calibrate, Random, Even(ALL), 16, 16),
    family("symmi", Calibrate, Pronounceable, Loose, 8, 15),
    family("proslikefan", Calibrate, Random, Even(LETTERS), 6, 12),
    family("tinba", Test, Random, Congruential(LETTERS), 12, 12),
    family("fobber", Test, Random, Congruential(LETTERS), 17, 17),
    family("fobber, short", Test, Random, Congruential(LETTERS), 10, 10),
    family("emotet", Test, Random, Even(TO_Y), 16, 16),
    family("shifu", Test, Random, Even(TO_Y), 7, 7),
    family("padcrypt", Test, Random, Even("abcdefklmno"), 16, 16),
    family("dyre", Test, Random, Digest("k"), 34, 34),
    family("pitou", Test, Pronounceable, Turns, 8, 10),
    family("virut", Test, Pronounceable, Loose, 6, 6),
    of_words("suppobox", TwoWords(""), 8, 24),
    of_words("nymaim2", TwoWords("-"), 8, 24),
    of_words("matsnu", ManyWords, 24, 34),
    of_words("banjori", Changed, 26, 26),
];

impl Family {
    /// `n` names, the same each time.
    pub(super) fn names(&self, n: usize) -> Vec<String> {
        let mut draw = Draw::new(20_261_122, super::super::draw::family(self.name));
        let mut state = 1 + draw.number(1 << 30) as u64;
        (0..n)
            .map(|_| {
                let (least, most) = self.length;
                let length = least + draw.number(most - least + 1);
                self.name_of(length, &mut draw, &mut state)
            })
            .collect()
    }

    fn name_of(&self, length: usize, draw: &mut Draw, state: &mut u64) -> String {
        match self.shape {
            Even(alphabet) => draw.characters(alphabet, length),
            Congruential(alphabet) => {
                let letters = alphabet.as_bytes();
                (0..length)
                    .map(|_| {
                        // Park and Miller's generator, 1988; its low bits are what such families take.
                        *state = *state * 16_807 % 0x7fff_ffff;
                        char::from(letters[*state as usize % letters.len()])
                    })
                    .collect()
            }
            Digest(prefix) => format!("{prefix}{}", draw.characters(HEX, length - prefix.len())),
            Turns => {
                let odd = draw.number(2);
                (0..length)
                    .map(|i| {
                        draw.characters(if (i + odd).is_multiple_of(2) { CONSONANTS } else { VOWELS }, 1)
                    })
                    .collect()
            }
            Loose => {
                let (mut vowel, mut text) = (draw.one_in(2), String::new());
                while text.len() < length {
                    text.push_str(&draw.characters(if vowel { VOWELS } else { CONSONANTS }, 1));
                    vowel = if vowel { draw.one_in(4) } else { !draw.one_in(5) };
                }
                text
            }
            Syllables => syllables(draw, length),
            Ended => {
                let end = draw.of(&["able", "dom", "hood", "ment", "ness", "ship", "ing", "ly", "ence"]);
                syllables(draw, length - end.len()) + end
            }
            TwoWords(between) => loop {
                let name = format!("{}{between}{}", draw.of(&WORDS), draw.of(&WORDS));
                if (self.length.0..=self.length.1).contains(&name.len()) {
                    return name;
                }
            },
            ManyWords => {
                let mut text = String::new();
                while text.len() < self.length.0 {
                    text.push_str(draw.of(&WORDS));
                }
                text.truncate(self.length.1);
                text
            }
            Changed => draw.characters(LETTERS, 4) + "stnessgardenphysicalmix",
        }
    }
}

fn syllables(draw: &mut Draw, length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&draw.characters(CONSONANTS, 1));
        text.push_str(&draw.characters("aeiou", 1));
        if draw.one_in(3) {
            text.push_str(&draw.characters("lmnrst", 1));
        }
    }
    text.truncate(length);
    text
}
