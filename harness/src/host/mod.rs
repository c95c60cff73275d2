//! The machine as it is: facts, checks and samples. Nothing here changes it, but for a target that is made.

pub mod cpus;
pub mod disk;
pub mod doctor;
pub mod fingerprint;
pub mod machine;
mod others;
pub mod packages;
pub mod sampler;
pub mod target;
pub mod versions;
pub mod witness;

use std::path::Path;

/// A file of `/proc` or `/sys` without its line end; absent where it cannot be read.
pub fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
