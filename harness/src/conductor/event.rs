//! What happens in a run, for those who show it.

use std::path::PathBuf;

use bench_results::record::Trial;

/// One thing that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something that takes a while begins: building the image, filling the target, ...
    Phase(String),
    /// Worth telling, but not worth stopping for.
    Note(String),
    /// The run's folder is there, and its page will be.
    Started {
        /// Where the page is.
        page: PathBuf,
        /// Trials planned.
        trials: usize,
        /// Seconds planned.
        planned_s: f64,
    },
    /// A block begins.
    Block {
        /// Counted from 1.
        number: u32,
        /// Of how many.
        of: u32,
    },
    /// A trial ended.
    Trial(&'a Trial),
    /// A block ended: what is recorded can be shown.
    BlockDone,
}

/// Whoever listens.
pub type Listener<'a> = &'a mut dyn FnMut(Event<'_>);
