//! The kernel's side of the sensor: programs, their loader and maps, and the fallbacks where they cannot run.

pub mod abi;
pub mod object;
