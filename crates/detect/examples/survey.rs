//! Lists what the shipped rules say about capture files or folders of them: `cargo run -p detect --example survey PATH…`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;

fn main() {
    let mut files = Vec::new();
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        if path.is_dir() { files.extend(common::captures(&path)) } else { files.push(path) }
    }
    if files.is_empty() {
        files = common::data().map(|d| common::captures(&d.join("pcap"))).unwrap_or_default();
    }
    for file in files {
        for incident in common::incidents(&file) {
            println!("{}: {}", file.display(), common::line(&incident));
        }
    }
}
