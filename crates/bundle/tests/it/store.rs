//! Which bundle is in use.

use crate::common::{Scratch, written};
use bundle::{Bundle, Error, Store, Trust};
use std::fs;

struct Kept {
    scratch: Scratch,
    store: Store,
    trust: Trust,
    ids: Vec<String>,
}

/// A store with some bundles, none of them in use.
fn kept(n: usize) -> Kept {
    let scratch = Scratch::new();
    let store = Store::new(scratch.path("store"));
    let mut trust = Trust::default();
    let mut ids = Vec::new();
    for i in 0..n {
        let (bundle, own) = written(&scratch.path(&i.to_string()), &format!("b{i}"));
        trust = own.keys().iter().fold(trust, |t, k| t.and(*k));
        ids.push(store.keep(&bundle).expect("kept"));
        assert_eq!(store.keep(&bundle).expect("kept again"), ids[i]);
    }
    Kept { scratch, store, trust, ids }
}

fn id(bundle: Option<Bundle>) -> Option<String> {
    bundle.map(|b| b.id().to_owned())
}

#[test]
fn an_empty_store_has_the_built_in_bundle_in_use() {
    let k = kept(0);
    assert_eq!(k.store.active(&k.trust).expect("read"), None);
    assert!(k.store.list(&k.trust).expect("listed").is_empty());
    assert!(k.store.promote("x", &k.trust).is_err());
    assert!(k.store.roll_back(&k.trust).is_err());
}

#[test]
fn promotion_and_going_back_change_which_is_in_use() {
    let k = kept(3);
    let active = || k.store.active_id().expect("read");
    assert_eq!(active(), None, "keeping is not using");
    k.store.promote(&k.ids[0], &k.trust).expect("promoted");
    k.store.promote(&k.ids[0], &k.trust).expect("promoted again, which changes nothing");
    k.store.promote("b1", &k.trust).expect("promoted by the beginning of its name");
    assert_eq!(active().as_ref(), Some(&k.ids[1]));
    let listed = k.store.list(&k.trust).expect("listed");
    assert_eq!(listed.iter().filter(|e| e.active).map(|e| &e.id).collect::<Vec<_>>(), [&k.ids[1]]);
    assert_eq!(listed.len(), 3);
    assert_eq!(id(k.store.roll_back(&k.trust).expect("back")).as_ref(), Some(&k.ids[0]));
    assert_eq!(k.store.roll_back(&k.trust).expect("back to the built-in one"), None);
    assert_eq!(active(), None);
    assert!(k.store.roll_back(&k.trust).is_err());
}

#[test]
fn a_damaged_bundle_is_neither_promoted_nor_gone_back_to() {
    let k = kept(3);
    for name in &k.ids {
        k.store.promote(name, &k.trust).expect("promoted");
    }
    let model = |i: usize| k.store.dir().join("bundles").join(&k.ids[i]).join("flow.model");
    fs::write(model(1), b"Model bytes").expect("written");
    assert_eq!(id(k.store.roll_back(&k.trust).expect("back")).as_ref(), Some(&k.ids[0]));
    assert!(k.store.promote(&k.ids[1], &k.trust).is_err());
    assert_eq!(k.store.active_id().expect("read").as_ref(), Some(&k.ids[0]));
    fs::write(model(0), b"").expect("written");
    assert!(k.store.active(&k.trust).is_err(), "what is in use is checked at each load");
    let listed = k.store.list(&k.trust).expect("listed");
    assert_eq!(listed.iter().filter(|e| e.bundle.is_err()).count(), 2);
    assert!(k.store.promote(&k.ids[2], &Trust::default()).is_err(), "of nobody trusted");
    let whole = Bundle::load(&k.scratch.path("0"), &k.trust).expect("the one it was kept from");
    k.store.keep(&whole).expect("kept again");
    assert_eq!(id(k.store.active(&k.trust).expect("mended")).as_ref(), Some(&k.ids[0]));
}

#[test]
fn links_and_foreign_names_are_no_bundles() {
    let k = kept(1);
    let place = k.store.dir().join("bundles");
    std::os::unix::fs::symlink(k.scratch.path("0"), place.join("b9-000000000000")).expect("linked");
    fs::create_dir(place.join(".draft")).expect("made");
    assert_eq!(k.store.list(&k.trust).expect("listed").len(), 1);
    for name in ["../0", "/", "", ".", "b9"] {
        assert!(k.store.get(name, &k.trust).is_err(), "{name}");
    }
    fs::rename(place.join(&k.ids[0]), place.join("b0-ffffffffffff")).expect("renamed");
    let error = k.store.get("b0", &k.trust).expect_err("refused");
    assert!(error.to_string().contains("under the name of another"), "{error}");
    fs::write(k.store.dir().join("active.json"), r#"{"active": "../../0", "history": []}"#).expect("written");
    assert!(matches!(k.store.active(&k.trust), Err(Error::Name(_))));
    fs::write(k.store.dir().join("active.json"), "{").expect("written");
    assert!(matches!(k.store.active(&k.trust), Err(Error::Store(_))));
}

#[test]
fn pruning_spares_what_is_in_use_or_was_before() {
    let k = kept(4);
    k.store.promote("b0", &k.trust).expect("promoted");
    k.store.promote("b1", &k.trust).expect("promoted");
    let gone = k.store.prune(1).expect("pruned");
    assert_eq!(gone.len(), 1);
    assert!(k.store.prune(1).expect("pruned").is_empty());
    assert_eq!(k.store.list(&k.trust).expect("listed").len(), 3);
    assert_eq!(k.store.prune(0).expect("pruned").len(), 1);
    assert!(k.store.roll_back(&k.trust).expect("back").is_some());
}
