//! Suites and workloads: from data to jobs, and from a job's output to measurements.
//!
//! A workload knows only its [`Place`]; where that is, and how often it is executed, is not its business.
#![forbid(unsafe_code)]

mod entry;
mod environment;
pub mod import;
mod iperf3;
mod kinds;
mod network;
pub mod probe;
mod suite;
mod target;
mod workload;

pub use bench_results::quantity::{parse_duration, parse_size};
pub use environment::{AnyKind, EnvironmentDefinition, EnvironmentError, Kinds, is_name};
pub use kinds::Instances;
pub use kinds::command::{WORK_FILE_SYSTEM, WORK_FOLDER};
pub use kinds::fio::{Engine, recount};
pub use kinds::fio_job::{JobFileError, workloads as fio_job};
pub use network::{Network, Server};
pub use suite::{Suite, SuiteError};
pub use target::{drive_job, drive_result, engine_job, engine_result, fill_job, is_steady};
pub use workload::{Measured, Place, TrialJobs, Work, Workload};
