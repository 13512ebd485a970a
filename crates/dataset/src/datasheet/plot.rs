//! Bar charts as inline SVG.

use std::fmt::Write as _;

/// Bars that lie or stand, each with a name and a value of 0 or more.
pub struct Bars {
    title: String,
    bars: Vec<(String, f64)>,
    upright: bool,
}

/// Lying bars are at most so many; a longer list is in the table beside.
const MOST_LYING: usize = 30;

/// Width of a plot of lying bars, of one of upright ones, and height of the latter, px.
const LYING_WIDTH: f64 = 640.0;
const UPRIGHT_WIDTH: f64 = 260.0;
const UPRIGHT_HEIGHT: f64 = 90.0;

/// Text for HTML and SVG: names come from files.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

impl Bars {
    /// Lying bars, each with its name on the left.
    #[must_use]
    pub fn named(title: &str, mut bars: Vec<(String, f64)>) -> Self {
        bars.truncate(MOST_LYING);
        Self { title: title.to_owned(), bars, upright: false }
    }

    /// Upright bars, of which the first and last are named.
    #[must_use]
    pub fn upright(title: &str, bars: Vec<(String, f64)>) -> Self {
        Self { title: title.to_owned(), bars, upright: true }
    }

    /// The plot with its title.
    #[must_use]
    pub fn figure(&self) -> String {
        let title = escape(&self.title);
        let svg = if self.upright { self.standing() } else { self.lying() };
        format!("<figure><figcaption>{title}</figcaption>{svg}</figure>\n")
    }

    fn largest(&self) -> f64 {
        self.bars.iter().map(|b| b.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE)
    }

    fn open(&self, width: f64, height: f64) -> String {
        let title = escape(&self.title);
        format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\" \
             aria-label=\"{title}\">"
        )
    }

    fn lying(&self) -> String {
        const STEP: f64 = 20.0;
        const NAMES: f64 = 170.0;
        const VALUES: f64 = 70.0;
        let largest = self.largest();
        let mut svg = self.open(LYING_WIDTH, STEP * self.bars.len() as f64);
        for (i, (name, value)) in self.bars.iter().enumerate() {
            let y = STEP * i as f64;
            let width = (value / largest * (LYING_WIDTH - NAMES - VALUES)).max(0.0);
            let short: String = name.chars().take(28).collect();
            // Writing to a String does not fail.
            let _ = write!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect x=\"{NAMES:.0}\" y=\"{:.1}\" \
                 width=\"{width:.1}\" height=\"14\" rx=\"2\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                NAMES - 6.0,
                y + 14.0,
                escape(&short),
                y + 3.0,
                NAMES + width + 5.0,
                y + 14.0,
                super::figure(*value)
            );
        }
        svg + "</svg>"
    }

    fn standing(&self) -> String {
        let largest = self.largest();
        let base = UPRIGHT_HEIGHT - 16.0;
        let step = UPRIGHT_WIDTH / self.bars.len().max(1) as f64;
        let mut svg = self.open(UPRIGHT_WIDTH, UPRIGHT_HEIGHT);
        for (i, (_, value)) in self.bars.iter().enumerate() {
            // What is there is seen, however little.
            let least = if *value > 0.0 { 1.0 } else { 0.0 };
            let height = (value / largest * (base - 4.0)).max(least);
            let _ = write!(
                svg,
                "<rect x=\"{:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{height:.1}\"/>",
                step * i as f64 + step * 0.08,
                base - height,
                step * 0.84
            );
        }
        let named = |at: Option<&(String, f64)>| at.map(|b| escape(&b.0)).unwrap_or_default();
        let _ = write!(
            svg,
            "<line x1=\"0\" x2=\"{UPRIGHT_WIDTH}\" y1=\"{base}\" y2=\"{base}\"/><text x=\"0\" y=\"{UPRIGHT_HEIGHT}\" \
             dy=\"-3\">{}</text><text x=\"{UPRIGHT_WIDTH}\" y=\"{UPRIGHT_HEIGHT}\" dy=\"-3\" text-anchor=\"end\">{}</text>",
            named(self.bars.first()),
            named(self.bars.last())
        );
        svg + "</svg>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_cannot_leave_the_plot() {
        let evil = "</text><script>alert('x')</script>\"";
        for plot in [
            Bars::named(evil, vec![(evil.to_owned(), 1.0)]),
            Bars::upright(evil, vec![(evil.to_owned(), 1.0)]),
        ] {
            let figure = plot.figure();
            assert!(!figure.contains("<script") && !figure.contains("')"), "{figure}");
        }
    }

    #[test]
    fn bars_without_values_are_drawn() {
        assert!(Bars::named("x", vec![]).figure().contains("<svg"));
        assert!(Bars::upright("x", vec![("a".into(), 0.0)]).figure().contains("height=\"0.0\""));
    }
}
