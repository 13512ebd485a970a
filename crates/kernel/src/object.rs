//! The compiled kernel programs, embedded.

/// The ELF object built from `bpf/sensor.bpf.c` by `cargo xtask bpf`, aligned as aya needs it. Load it with
/// `aya::EbpfLoader`; names of maps, programs and tunables are in [`crate::abi`].
pub static SENSOR: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/sensor.bpf.o"));
