//! Types of columns, from the values in them.

use crate::cell::{Cell, Kind, integer, number, parse_time};

/// What the values of a column seen so far fit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inference {
    seen: bool,
    kind: Option<Kind>,
}

impl Inference {
    /// Takes a value into account.
    pub(crate) fn add(&mut self, cell: &Cell) {
        let kind = match cell {
            Cell::Time(_) => Kind::Time,
            Cell::Integer(_) => Kind::Integer,
            Cell::Real(_) => Kind::Real,
            Cell::Word(_) => Kind::Text,
            Cell::Text(t) => self.of_text(t),
        };
        self.kind = Some(match (self.seen, self.kind) {
            (true, Some(Kind::Integer | Kind::Real)) if kind == Kind::Real => Kind::Real,
            (true, Some(Kind::Real)) if kind == Kind::Integer => Kind::Real,
            (true, Some(known)) if known != kind => Kind::Text,
            _ => kind,
        });
        self.seen = true;
    }

    /// What a text may be, in the order of what is likely after the values so far.
    fn of_text(&self, text: &str) -> Kind {
        match self.kind {
            // It stays one whatever comes.
            Some(Kind::Text) => return Kind::Text,
            Some(Kind::Real) if number(text).is_some() => return Kind::Real,
            Some(Kind::Time) if parse_time(text).is_some() => return Kind::Time,
            _ => {}
        }
        if integer(text).is_some() {
            Kind::Integer
        } else if number(text).is_some() {
            Kind::Real
        } else if parse_time(text).is_some() {
            Kind::Time
        } else {
            Kind::Text
        }
    }

    /// The type: text where there were no values.
    pub(crate) fn kind(&self) -> Kind {
        self.kind.unwrap_or(Kind::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_the_narrowest_type_that_fits_every_value() {
        let check = |values: &[&str], expected: Kind| {
            let mut inference = Inference::default();
            values.iter().for_each(|v| inference.add(&Cell::Text((*v).to_owned())));
            assert_eq!(inference.kind(), expected, "{values:?}");
        };
        check(&[], Kind::Text);
        check(&["1", "-2"], Kind::Integer);
        check(&["1", "2.5"], Kind::Real);
        check(&["2.5", "1", "NaN", "-inf"], Kind::Real);
        check(&["007"], Kind::Real);
        check(&["1", "x"], Kind::Text);
        check(&["x", "1"], Kind::Text);
        check(&["2017-07-06 12:59:06", "2017-07-06T12:59:06Z"], Kind::Time);
        check(&["2017-07-06 12:59:06", "7"], Kind::Text);
        check(&["10.0.0.1"], Kind::Text);
    }
}
