//! What is said between the conductor and an agent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Raised whenever a message changes its meaning; both sides must agree.
pub const PROTOCOL_VERSION: u32 = 2;

/// Bytes that travel as base64 inside JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// The bytes as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Bytes(text.as_bytes().to_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Bytes).map_err(serde::de::Error::custom)
    }
}

/// A file that the agent writes into the job's working directory before it starts the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFile {
    /// A plain file name, without `/`.
    pub name: String,
    /// What the file holds.
    pub content: Bytes,
}

/// What becomes of the program's standard streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// stdin is empty; stdout and stderr are kept and come back in the [`JobOutput`].
    #[default]
    Capture,
    /// The streams are forwarded as they come, by [`Request::Stdin`], [`Reply::Stdout`] and [`Reply::Stderr`].
    Forward,
    /// The same, but the program leads a session on a terminal of its own, which is its stdin and stdout: [`Request::Stdin`] is what is
    /// typed there, [`Reply::Stdout`] what it shows.
    Terminal {
        /// Its size at first; [`Request::Resize`] changes it.
        window: Window,
        /// True: stderr is not the terminal, and is forwarded apart from it.
        stderr_apart: bool,
    },
}

/// The size of a terminal, in characters; 0: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// One program to execute, wherever the agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Program and arguments; the program is looked up in the job's own `PATH`.
    pub argv: Vec<String>,
    /// The whole environment of the program: nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Working directory; the agent's scratch directory when absent.
    pub cwd: Option<String>,
    /// Written to the scratch directory first.
    pub files: Vec<JobFile>,
    /// Names of files in the scratch directory to bring back; a missing one is simply not in the output.
    pub collect: Vec<String>,
    /// The program's process group is killed when it has not ended after this many nanoseconds; 0: never.
    pub deadline_ns: u64,
    /// See [`Streams`].
    pub streams: Streams,
}

/// How the program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It exited by itself with this status.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
    /// The deadline passed and the agent killed it.
    DeadlinePassed,
    /// It could not be started: `errno` of the attempt and what was tried.
    NotStarted {
        /// `errno`: 2 (`ENOENT`) is "not found", 13 (`EACCES`) "not executable".
        errno: i32,
        /// What was being done, for people.
        what: String,
    },
}

/// What the kernel accounted to the program (getrusage(2), of it and its waited-for children).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rusage {
    /// CPU time in user space.
    pub user_ns: u64,
    /// CPU time in the kernel.
    pub system_ns: u64,
    /// Largest resident set of any single process of it.
    pub max_rss_bytes: u64,
    /// Page faults that needed I/O.
    pub major_faults: u64,
}

/// All that is known of an executed [`Job`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOutput {
    /// How it ended.
    pub status: JobStatus,
    /// Standard output (empty when forwarded).
    pub stdout: Bytes,
    /// Standard error (empty when forwarded).
    pub stderr: Bytes,
    /// The files asked for by [`Job::collect`] that existed.
    pub files: Vec<JobFile>,
    /// The agent's monotonic clock when the program was started.
    pub started_ns: u64,
    /// The agent's monotonic clock when the program had ended.
    pub ended_ns: u64,
    /// Resources used.
    pub rusage: Rusage,
}

impl JobOutput {
    /// The content of a collected file.
    pub fn file(&self, name: &str) -> Option<&Bytes> {
        self.files.iter().find(|file| file.name == name).map(|file| &file.content)
    }
}

/// What an agent says first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`PROTOCOL_VERSION`] of the agent.
    pub protocol: u32,
    /// `uname -r` as seen inside.
    pub kernel_release: String,
    /// Host name as seen inside.
    pub hostname: String,
    /// Process id of the agent as seen inside.
    pub pid: u32,
    /// CPUs that the agent may use.
    pub cpus: u32,
    /// Kernel clock source inside, where it can be read.
    pub clock_source: Option<String>,
    /// What one read of the monotonic clock costs inside.
    pub clock_read_ns: f64,
    /// The agent's monotonic clock.
    pub clock_ns: u64,
    /// When the first instruction of its program was executed, on the same clock. In a guest the program is `/init`, and that clock
    /// began with the guest's kernel.
    pub began_ns: u64,
    /// Problems met while the instance started (a guest's module that did not load, ...).
    pub warnings: Vec<String>,
}

/// From the conductor to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Answered by [`Reply::Pong`].
    Ping,
    /// SHA-256 of files as this environment sees them; answered by [`Reply::Digests`].
    Digest(Vec<String>),
    /// Read small text files (`/proc`, `/sys`); answered by [`Reply::Texts`].
    Read(Vec<String>),
    /// Answered by [`Reply::Done`].
    Execute(Job),
    /// Bytes for the standard input of a job whose streams are forwarded.
    Stdin(Bytes),
    /// End of that input.
    StdinEnd,
    /// The window of a job with [`Streams::Terminal`] has this size now.
    Resize(Window),
    /// Pass this signal to the running job's process group.
    Signal(i32),
    /// The agent ends (and the guest powers off).
    Shutdown,
}

/// From the agent to the conductor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Sent once, unasked.
    Greeting(Greeting),
    /// The agent's monotonic clock.
    Pong {
        /// Nanoseconds.
        clock_ns: u64,
    },
    /// One per path asked; absent where the file could not be read.
    Digests(Vec<Option<String>>),
    /// One per path asked; absent where the file could not be read.
    Texts(Vec<Option<String>>),
    /// A piece of a forwarded job's standard output.
    Stdout(Bytes),
    /// A piece of a forwarded job's standard error.
    Stderr(Bytes),
    /// The job has ended.
    Done(Box<JobOutput>),
    /// The request makes no sense now.
    Refused(String),
}

/// Text from inside as it may stand in a message: no control characters, and at most so many others.
pub fn printable(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}
