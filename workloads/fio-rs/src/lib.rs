//! Drive [fio](https://fio.readthedocs.io) and read what it prints.
//!
//! - [`Job`] and [`job_file`]: typed jobs to the text of a job file;
//! - [`parse`]: what fio printed (json+ amid notes and errors) to [`Output`], with raw latency bins;
//! - [`Output::check`]: exit status, per-job errors, zero I/O and figures that cannot be read are failures;
//! - [`run`]: a thin convenience over both.
#![forbid(unsafe_code)]

mod check;
mod job;
pub mod loose;
mod output;
mod parse;
mod run;

pub use check::Failure;
pub use job::{Direction, HUGE_BUFFERS, Job, JobError, Length, Pattern, job_file};
pub use output::{Bin, JobOutput, Latency, Output, Traffic};
pub use parse::{ParseError, parse};
pub use run::{RunError, run};
