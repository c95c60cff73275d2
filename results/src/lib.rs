//! Every type that `bench` writes to disk, and the statistics over them.
//!
//! This crate never touches the machine: it works on a record of any age.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod metric;
pub mod record;

mod histogram;

pub use histogram::Histogram;
pub use metric::{Direction, Unit};
