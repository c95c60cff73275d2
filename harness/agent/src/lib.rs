//! The part of `bench` that executes a [`Job`] inside an instance, and the protocol it speaks.
//!
//! The same executable is the agent in every environment: a child process natively and in a container
//! (frames over a pipe), `/init` of the guest (frames over a virtio-serial port). It is plain blocking code and sleeps in
//! `read` or `poll` while a job measures.
#![warn(missing_docs)]

mod executor;
mod frame;
mod message;
mod serve;
mod terminal;

pub use executor::{ExecuteError, OUTPUT_LIMIT, execute};
pub use frame::{FRAME_LIMIT, FrameError, decode_header, encode, read_frame, write_frame};
pub use message::{
    Bytes, Greeting, Job, JobFile, JobOutput, JobStatus, PROTOCOL_VERSION, Reply, Request, Rusage, Streams, Window,
    printable,
};
pub use serve::{
    CLOCK_SOURCE, Channel, ServeError, adopt_orphans, beginning_ns, clock_ns, clock_source, serve, sha256,
};
