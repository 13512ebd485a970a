//! Key files.

use crate::common::Scratch;
use bundle::{Error, PublicKey, SigningKey};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_key_is_made_once_and_is_its_owners_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("keys/signing.pem");
    let (key, made) = SigningKey::read_or_make(&path).expect("made");
    assert!(made);
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let (again, made) = SigningKey::read_or_make(&path).expect("read");
    assert!(!made && again.public() == key.public());
    assert!(key.write_new(&path).is_err(), "a key is never written over");
    let signature = key.sign(b"message");
    assert!(again.public().verifies(b"message", &signature));
    assert!(!again.public().verifies(b"another", &signature));
    assert_eq!(PublicKey::parse(&key.public().to_string()), Some(key.public()));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("signing.pem");
    SigningKey::read_or_make(&path).expect("made");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
    assert!(matches!(SigningKey::read(&path), Err(Error::Key { what, .. }) if what.contains("chmod 600")));
}

#[test]
fn what_is_no_key_is_refused() {
    let scratch = Scratch::new();
    for (i, text) in [
        "",
        "-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ]
    .iter()
    .enumerate()
    {
        let path = scratch.path(&i.to_string());
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
        assert!(matches!(SigningKey::read(&path), Err(Error::Key { .. })), "{text}");
    }
}

/// What `openssl genpkey -algorithm ed25519` writes: the key of RFC 8410, section 10.3.
#[test]
fn a_key_of_another_program_is_read() {
    let scratch = Scratch::new();
    let path = scratch.path("other.pem");
    let text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                -----END PRIVATE KEY-----\n";
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
    assert_eq!(
        SigningKey::read(&path).expect("a key").public().to_string(),
        "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
    );
}
