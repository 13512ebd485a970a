//! What holds for the tree as a whole and no compiler checks: which crate may use which, where `unsafe` may stand, what
//! pure crates may not touch, how long a module may be, and who keeps each generated document true.
//!
//! Each rule is a function from text to offences; the test here runs them all over the tree, those in `planted` plant an
//! offence of each kind and see it caught. Forbidden words are put together from parts, since these files are checked too.

mod tidy {
    mod code;
    mod planted;
    pub(crate) mod rules;
    pub(crate) mod tree;
}

use tidy::{rules, tree};

#[test]
fn the_tree_is_tidy() {
    let root = tree::root();
    let mut offences = rules::dependencies(&tree::packages(&root));
    let files = tree::files(&root);
    assert!(files.len() > 50, "only {} files found: is {} the repository?", files.len(), root.display());
    for (path, text) in &files {
        offences.extend(rules::file(path, text));
    }
    offences.extend(rules::documents(&files));
    offences.extend(rules::clippy_files(&files));
    let list: Vec<String> = offences.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} offences:\n{}\n", list.len(), list.join("\n"));
}
