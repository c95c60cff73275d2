//! Drive [fio](https://fio.readthedocs.io) and read what it prints.
//!
//! - [`Job`] and [`job_file`]: typed jobs to the text of a job file;
//! - [`parse`]: what fio printed (json+ amid notes and errors) to [`Output`], with raw latency bins;
//! - [`Output::check`]: exit status, per-job errors and zero I/O are failures;
//! - [`run`]: a thin convenience over both.
#![forbid(unsafe_code)]

mod job;
mod output;
mod run;

pub use job::{Direction, HUGE_BUFFERS, Job, JobError, Length, Pattern, job_file};
pub use output::{Bin, Failure, JobOutput, Latency, Output, ParseError, Traffic, parse};
pub use run::{RunError, run};
