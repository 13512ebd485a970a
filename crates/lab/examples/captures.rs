//! Writes the captures of `testdata/` anew: `cargo run -p lab --example captures`.

use lab::simulation::{CAPTURES, write_capture};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    for (name, scenario, seed) in CAPTURES {
        write_capture(scenario, seed, BufWriter::new(File::create(dir.join(name))?))?;
        println!("testdata/{name}: scenario {scenario}, seed {seed}");
    }
    Ok(())
}
