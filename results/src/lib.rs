//! Every type that `bench` writes to disk, and the statistics over them.
//!
//! This crate never touches the machine: it works on a record of any age.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod aliases;
pub mod analysis;
pub mod archive;
pub mod between;
pub mod calibration;
pub mod claims;
mod class;
pub mod compare;
pub mod consistency;
pub mod host;
pub mod identity;
pub mod imported;
pub mod isolation;
pub mod lean;
pub mod limits;
pub mod metric;
pub mod order;
pub mod paper;
pub mod patterns;
pub mod percentiles;
pub mod planning;
pub mod policy;
pub mod power;
pub mod primary;
pub mod quantity;
pub mod record;
pub mod reportable;
pub mod resume;
pub mod schema;
pub mod sequential;
pub mod shell;
pub mod simulation;
pub mod skew;
pub mod statistics;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod validity;
pub mod values;
pub mod verdict;

mod folded;
mod histogram;
mod judge;
mod latencies;
mod reading;
mod secondary;
mod sentence;
mod work;

pub use histogram::Histogram;
pub use metric::{Direction, Unit};
