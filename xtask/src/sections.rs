//! Documents made of sections that can be made anew one by one: which are asked for, and where they stand in the text.

use anyhow::Context as _;

/// The sections named by `--section NAME`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sections(Vec<String>);

impl Sections {
    /// Takes the value of one `--section`, which must be among `known`.
    pub(crate) fn add(&mut self, name: Option<&String>, known: &[&str]) -> anyhow::Result<()> {
        let names = known.join(", ");
        let name = name.with_context(|| format!("--section needs a name: {names}"))?;
        anyhow::ensure!(known.contains(&name.as_str()), "there is no section '{name}'; there are {names}");
        self.0.push(name.clone());
        Ok(())
    }

    /// Whether a section is asked for; without any name all are.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|s| s == name)
    }
}

/// The sections of a document: heading, and everything to the next.
pub(crate) fn of(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n## ").skip(1).filter_map(|s| s.split_once('\n'))
}

/// What stands under a heading.
pub(crate) fn body<'a>(text: &'a str, title: &str) -> Option<&'a str> {
    of(text).find(|(t, _)| *t == title).map(|(_, body)| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_all_or_those_named() {
        let mut sections = Sections::default();
        assert!(sections.has("a") && sections.has("b"));
        sections.add(Some(&"a".to_owned()), &["a", "b"]).expect("known");
        assert!(sections.has("a") && !sections.has("b"));
        for (wrong, said) in [(None, "needs a name: a, b"), (Some("c"), "no section 'c'; there are a, b")] {
            let error = sections.add(wrong.map(str::to_owned).as_ref(), &["a", "b"]).expect_err("wrong");
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn a_body_reaches_to_the_next_heading() {
        let text = "# Title\n\nhead\n\n## A\n\na\n\n### a1\n\n## B\nb\n";
        assert_eq!(of(text).map(|(t, _)| t).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(body(text, "A"), Some("\na\n\n### a1\n"));
        assert_eq!(body(text, "B"), Some("b\n"));
        assert_eq!(body(text, "C"), None);
    }
}
