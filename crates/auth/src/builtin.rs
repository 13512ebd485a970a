//! The shipped formats.

/// Definitions by file name, in the order in which formats are tried.
pub(crate) const BUILTIN: &[(&str, &str)] = &[
    ("sshd.toml", include_str!("../../../rules/auth/sshd.toml")),
    ("web.toml", include_str!("../../../rules/auth/web.toml")),
    ("mail.toml", include_str!("../../../rules/auth/mail.toml")),
    ("ftp.toml", include_str!("../../../rules/auth/ftp.toml")),
    // Last: whoever has a format of his own tells by it, and what PAM says beside that is a note there.
    ("pam.toml", include_str!("../../../rules/auth/pam.toml")),
];
