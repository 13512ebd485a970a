//! Curves and matrices as inline SVG; colours are those of the page, light or dark.

use dataset::datasheet::escape;
use std::fmt::Write as _;

/// Width and height of the plotting area, px.
const SIZE: (f64, f64) = (360.0, 260.0);
/// Room left, right, above and below it, px.
const MARGIN: (f64, f64, f64, f64) = (52.0, 14.0, 10.0, 40.0);
/// Most points of a curve: more are closer together than pixels.
const MAX_POINTS: usize = 400;
/// Most classes of a matrix; a larger one is in the table beside.
const MAX_CLASSES: usize = 30;

/// What is added to the style of the page.
pub const STYLE: &str = "
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 0 1.5rem; }
svg .curve { fill: none; stroke: var(--bar); stroke-width: 2; stroke-linejoin: round; }
svg .dot { fill: var(--bar); }
svg .even { stroke: var(--soft); stroke-dasharray: 4 4; }
svg .frame { fill: none; stroke: var(--line); }
svg rect.cell { fill: var(--bar); }
svg rect.bed { fill: none; stroke: var(--line); }
svg text.on { fill: var(--page); }
svg text.ink { fill: var(--ink); }
";

/// How a number becomes a place on an axis.
#[derive(Clone, Copy, Debug)]
pub enum Axis {
    /// 0 to 1.
    Share,
    /// This power of ten to 1, in steps of ten; what is less is at the edge.
    Decades(i32),
}

impl Axis {
    fn at(self, value: f64) -> f64 {
        match self {
            Self::Share => value.clamp(0.0, 1.0),
            Self::Decades(least) => {
                let log = value.max(f64::MIN_POSITIVE).log10();
                (1.0 - log / f64::from(least)).clamp(0.0, 1.0)
            }
        }
    }

    fn ticks(self) -> Vec<(f64, String)> {
        match self {
            Self::Share => (0..=5).map(|i| f64::from(i) / 5.0).map(|v| (v, format!("{v:.1}"))).collect(),
            Self::Decades(least) => (least..=0)
                .map(|p| {
                    let value = 10_f64.powi(p);
                    (value, if p >= -2 { format!("{value}") } else { format!("1e{p}") })
                })
                .collect(),
        }
    }
}

/// A curve over two axes.
pub struct Curve<'a> {
    /// Above it.
    pub title: &'a str,
    /// Name and kind of the horizontal axis.
    pub x: (&'a str, Axis),
    /// Name and kind of the vertical axis.
    pub y: (&'a str, Axis),
    /// Points in the order they are joined.
    pub points: Vec<(f64, f64)>,
    /// Whether each point is marked.
    pub dots: bool,
    /// Whether the line on which both axes are equal is drawn.
    pub diagonal: bool,
}

impl Curve<'_> {
    /// The plot with its title.
    pub fn figure(&self) -> String {
        let (left, right, top, bottom) = MARGIN;
        let (width, height) = (SIZE.0 + left + right, SIZE.1 + top + bottom);
        let title = escape(self.title);
        let place = |x: f64, y: f64| (left + self.x.1.at(x) * SIZE.0, top + (1.0 - self.y.1.at(y)) * SIZE.1);
        let mut svg = format!(
            "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{title}\"><rect class=\"frame\" x=\"{left}\" y=\"{top}\" \
             width=\"{}\" height=\"{}\"/>",
            SIZE.0, SIZE.1
        );
        // Writing to a String does not fail.
        for (value, text) in self.x.1.ticks() {
            let (x, _) = place(value, 0.0);
            let _ = write!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{}\"/><text x=\"{x:.1}\" y=\"{}\" \
                 text-anchor=\"middle\">{text}</text>",
                top + SIZE.1,
                top + SIZE.1 + 14.0
            );
        }
        for (value, text) in self.y.1.ticks() {
            let (_, y) = place(0.0, value);
            let _ = write!(
                svg,
                "<line x1=\"{left}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{text}</text>",
                left + SIZE.0,
                left - 5.0,
                y + 4.0
            );
        }
        let middle = (left + SIZE.0 / 2.0, top + SIZE.1 / 2.0);
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text><text x=\"12\" y=\"{}\" \
             text-anchor=\"middle\" transform=\"rotate(-90 12 {})\">{}</text>",
            middle.0,
            height - 6.0,
            escape(self.x.0),
            middle.1,
            middle.1,
            escape(self.y.0)
        );
        if self.diagonal {
            let ((x1, y1), (x2, y2)) = (place(0.0, 0.0), place(1.0, 1.0));
            let _ = write!(
                svg,
                "<line class=\"even\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
            );
        }
        let points = thinned(&self.points);
        let joined: Vec<String> =
            points.iter().map(|(x, y)| place(*x, *y)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(svg, "<polyline class=\"curve\" points=\"{}\"/>", joined.join(" "));
        if self.dots {
            for (x, y) in points {
                let (x, y) = place(x, y);
                let _ = write!(svg, "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>");
            }
        }
        svg + "</svg></figure>\n"
    }
}

/// Some of the points, the first and last included, evenly.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let mut out: Vec<(f64, f64)> = points.iter().copied().step_by(step).collect();
    if points.len() > 1
        && let Some(last) = points.last()
        && out.last() != Some(last)
    {
        out.push(*last);
    }
    out
}

/// A matrix of counts, each row coloured by its shares.
pub fn matrix(title: &str, names: &[String], counts: &[Vec<u64>]) -> String {
    const CELL: f64 = 46.0;
    const SIDE: f64 = 150.0;
    const HEAD: f64 = 118.0;
    let shown = names.len().min(MAX_CLASSES);
    // Of many classes cells are small and hold no numbers.
    let cell = if shown > 12 { 26.0 } else { CELL };
    let (width, height) = (SIDE + cell * shown as f64 + 60.0, HEAD + cell * shown as f64 + 6.0);
    let title = escape(title);
    let mut svg = format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{title}\">"
    );
    let short = |name: &str| escape(&name.chars().take(20).collect::<String>());
    for (i, name) in names.iter().take(shown).enumerate() {
        let at = cell * (i as f64 + 0.5);
        // Writing to a String does not fail.
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><text transform=\"translate({:.1} {}) \
             rotate(-45)\">{}</text>",
            SIDE - 6.0,
            HEAD + at + 4.0,
            short(name),
            SIDE + at,
            HEAD - 6.0,
            short(name)
        );
    }
    for (truth, row) in counts.iter().take(shown).enumerate() {
        let all = row.iter().sum::<u64>().max(1) as f64;
        for (decided, n) in row.iter().take(shown).enumerate() {
            let share = *n as f64 / all;
            let (x, y) = (SIDE + cell * decided as f64, HEAD + cell * truth as f64);
            let title = format!(
                "{} taken for {}: {n}",
                names.get(truth).map_or("", String::as_str),
                names.get(decided).map_or("", String::as_str)
            );
            let _ = write!(
                svg,
                "<rect class=\"bed\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell}\" height=\"{cell}\"/>\
                 <rect class=\"cell\" fill-opacity=\"{share:.3}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell}\" \
                 height=\"{cell}\"><title>{}</title></rect>",
                escape(&title)
            );
            if *n > 0 && cell == CELL {
                let class = if share > 0.55 { "on" } else { "ink" };
                let _ = write!(
                    svg,
                    "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    x + cell / 2.0,
                    y + cell / 2.0 + 4.0,
                    crate::text::si(*n as f64)
                );
            }
        }
    }
    svg + "</svg></figure>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_tables_cannot_leave_a_plot() {
        let evil = "</text><script>alert(1)</script>";
        let plot = matrix(evil, &[evil.to_owned()], &[vec![3]]);
        let curve = Curve {
            title: evil,
            x: (evil, Axis::Decades(-4)),
            y: (evil, Axis::Share),
            points: vec![(0.0, 0.0), (1.0, 1.0)],
            dots: true,
            diagonal: true,
        };
        for svg in [plot, curve.figure()] {
            assert!(!svg.contains("<script") && svg.contains("</svg>"), "{svg}");
        }
    }

    #[test]
    fn a_long_curve_keeps_its_ends() {
        let points: Vec<(f64, f64)> = (0..10_001).map(|i| (f64::from(i), 0.0)).collect();
        let thin = thinned(&points);
        assert!(
            thin.len() <= MAX_POINTS + 1 && thin.first() == points.first() && thin.last() == points.last()
        );
        assert!(thinned(&[]).is_empty());
    }
}
