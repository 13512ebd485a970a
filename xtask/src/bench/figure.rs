//! Figures, and sections of the document made of them.

use std::fmt::Write as _;

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

/// One measured quantity.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    value: f64,
    baseline: Option<(f64, &'static str)>,
    aim: Option<Aim>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), unit, value, baseline: None, aim: None }
    }

    pub(crate) const fn aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    /// The same quantity of something to compare with.
    pub(crate) const fn baseline(mut self, value: f64, of: &'static str) -> Self {
        self.baseline = Some((value, of));
        self
    }

    /// Whether the aim is met; `None` without one.
    fn met(&self) -> Option<bool> {
        Some(match self.aim? {
            Aim::AtMost(bound) => self.value <= bound,
            Aim::AtLeast(bound) => self.value >= bound,
        })
    }
}

/// One part of the bench.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    /// How it was measured.
    pub(crate) method: String,
    pub(crate) figures: Vec<Figure>,
    /// What a reader must know besides; each a sentence or more.
    pub(crate) notes: Vec<String>,
}

impl Section {
    pub(crate) fn new(method: impl Into<String>) -> Self {
        Self { method: method.into(), ..Self::default() }
    }

    pub(crate) fn push(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Says why, if any aim is missed.
    pub(crate) fn explain_missed(&mut self, why: &str) {
        if self.figures.iter().any(|f| f.met() == Some(false)) {
            self.note(format!("Where an aim is missed: {why}"));
        }
    }

    /// As Markdown, under a heading of the second level.
    pub(crate) fn markdown(&self, title: &str) -> String {
        let mut text = format!("## {title}\n\n{}\n", self.method);
        if !self.figures.is_empty() {
            text.push_str("\n| figure | measured | beside | aim | met |\n|---|---:|---:|---:|---|\n");
        }
        for f in &self.figures {
            let beside =
                f.baseline.map_or_else(String::new, |(v, of)| format!("{} {} ({of})", number(v), f.unit));
            let aim = match f.aim {
                None => String::new(),
                Some(Aim::AtMost(v)) => format!("≤ {} {}", number(v), f.unit),
                Some(Aim::AtLeast(v)) => format!("≥ {} {}", number(v), f.unit),
            };
            let met = match f.met() {
                None => "",
                Some(true) => "yes",
                Some(false) => "**no**",
            };
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "| {} | {} {} | {beside} | {aim} | {met} |", f.what, number(f.value), f.unit);
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

/// Three significant digits or all those before the point, in groups of three.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        s if s >= 0.9995 || s == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{size:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(w, r)| (w, r));
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

/// The middle one; of an even count the mean of the middle two. 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_all_before_the_point() {
        for (value, text) in [
            (0.0, "0.00"),
            (0.01234, "0.012"),
            (1.0, "1.00"),
            (49.96, "50.0"),
            (99.96, "100"),
            (1234.5, "1,234"),
            (3_000_000.0, "3,000,000"),
            (-12_345.0, "-12,345"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_row_says_whether_the_aim_is_met() {
        let mut section = Section::new("How.");
        section.push(Figure::new("drop", 51.0, "ns").aim(Aim::AtMost(50.0)).baseline(80.0, "xdp-filter"));
        section.push(Figure::new("rate", 3.0, "M").aim(Aim::AtLeast(3.0)));
        section.push(Figure::new("plain", 7.0, "s"));
        let text = section.markdown("Title");
        assert!(text.starts_with("## Title\n\nHow.\n\n| figure |"), "{text}");
        assert!(text.contains("| drop | 51.0 ns | 80.0 ns (xdp-filter) | ≤ 50.0 ns | **no** |"), "{text}");
        assert!(text.contains("| rate | 3.00 M |  | ≥ 3.00 M | yes |"), "{text}");
        assert!(text.contains("| plain | 7.00 s |  |  |  |"), "{text}");
    }
}
