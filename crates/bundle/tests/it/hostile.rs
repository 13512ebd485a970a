//! Whatever the files of a bundle hold, loading it ends in a bundle or an error.

use crate::common::{draft, key};
use bundle::{Bundle, MANIFEST, SIGNATURE, SigningKey, Trust};
use proptest::prelude::*;
use std::sync::LazyLock;

static KEY: LazyLock<SigningKey> = LazyLock::new(key);
static WHOLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| draft("test").sign(&KEY).expect("signed").remove(MANIFEST).expect("a manifest"));

/// Loads a manifest that the trusted key signed, with a model that may not be the one it lists.
fn load(manifest: &[u8], model: &[u8]) -> bool {
    let signature: String = KEY.sign(manifest).iter().map(|b| format!("{b:02x}")).collect();
    let files = [(MANIFEST, manifest), (SIGNATURE, signature.as_bytes()), ("flow.model", model)];
    Bundle::from_files(&files, &Trust::new([KEY.public()])).is_ok()
}

#[test]
fn the_whole_one_loads() {
    assert!(load(&WHOLE, b"model bytes"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(!load(&bytes, &bytes));
        let files = [(MANIFEST, &WHOLE[..]), (SIGNATURE, &bytes), ("flow.model", b"model bytes")];
        prop_assert!(Bundle::from_files(&files, &Trust::new([KEY.public()])).is_err());
    }

    #[test]
    fn a_manifest_with_other_bytes_is_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = WHOLE.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // It may still be a manifest: then it is a right one.
        load(&bytes, b"model bytes");
        bytes.truncate(cut.index(WHOLE.len() - 2));
        prop_assert!(!load(&bytes, b"model bytes"));
    }
}
