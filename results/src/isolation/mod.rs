//! Isolation: which of the host's resources an instance sees or changes, by probes that are tried inside and looked at from outside.
//!
//! [`PROBES`] declares each probe once. A trial holds what was seen ([`Observation`]); the outcomes are decided here, from a record of any
//! age. Nothing is measured, and there are no statistics: of several blocks, the outcomes have to agree.

mod changes;
mod decide;
mod matrix;
mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Workload;

pub use changes::changes;
pub(crate) use changes::{between_environments, both_looked};
pub use decide::{Outcome, SEEN, SILENT};
pub use matrix::{Cell, Evidence, Isolation, Row, Separation, Standing, of};
pub use table::PROBES;

/// Most characters of a value that is kept.
pub const VALUE_CHARS: usize = 300;

/// What one probe saw in a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// Its id.
    pub probe: String,
    /// Inside the instance.
    pub inside: Sight,
    /// On the host, before and after the trial; of a marker, whether it was seen there meanwhile. Empty of attempts.
    #[serde(default)]
    pub outside: Vec<Sight>,
}

/// A value, or the error that came instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// What was read; of an attempt, how it went; a long text as its digest.
    Value(String),
    /// Name of the error (`EPERM`), or why there is no value.
    Error(String),
}

impl Sight {
    /// The value.
    pub fn value(&self) -> Option<&str> {
        match self {
            Sight::Value(value) => Some(value),
            Sight::Error(_) => None,
        }
    }

    /// For people.
    pub fn text(&self) -> &str {
        match self {
            Sight::Value(text) | Sight::Error(text) => text,
        }
    }
}

/// Class of a resource: what is summed up is said of classes, never as a count of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Which processes there are, and who may act on them.
    Processes,
    /// The tree of files.
    Mounts,
    /// Interfaces, routes, sockets.
    Network,
    /// System V and shared memory.
    Ipc,
    /// Names of the machine.
    Hostname,
    /// User ids.
    Users,
    /// Capabilities and filters of system calls.
    Privileges,
    /// The tree of control groups.
    Cgroups,
    /// Clocks.
    Time,
    /// The kernel's messages.
    KernelLog,
    /// File pages in memory, and their settings.
    PageCache,
    /// What is told of the machine and of the work on it.
    Machine,
    /// The kernel itself, its settings and its interfaces.
    Kernel,
    /// Priorities.
    Scheduling,
    /// Devices.
    Devices,
}

impl Resource {
    /// All, in the order in which they are shown.
    pub const ALL: [Resource; 15] = [
        Resource::Processes,
        Resource::Mounts,
        Resource::Network,
        Resource::Ipc,
        Resource::Hostname,
        Resource::Users,
        Resource::Privileges,
        Resource::Cgroups,
        Resource::Time,
        Resource::KernelLog,
        Resource::PageCache,
        Resource::Machine,
        Resource::Kernel,
        Resource::Scheduling,
        Resource::Devices,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Processes => "processes",
            Resource::Mounts => "mounts",
            Resource::Network => "network",
            Resource::Ipc => "IPC",
            Resource::Hostname => "hostname",
            Resource::Users => "users",
            Resource::Privileges => "privileges",
            Resource::Cgroups => "cgroups",
            Resource::Time => "time",
            Resource::KernelLog => "kernel log",
            Resource::PageCache => "page cache",
            Resource::Machine => "machine facts",
            Resource::Kernel => "kernel",
            Resource::Scheduling => "scheduling",
            Resource::Devices => "devices",
        }
    }
}

/// How a value is found, inside and outside alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The text of a file.
    Text(&'static str),
    /// The rest of a file's first line that begins so.
    Field(&'static str, &'static str),
    /// The sum of all whole numbers in a file, or in its lines that begin so.
    Sum(&'static str, &'static str),
    /// The first word of each line of a file.
    Words(&'static str),
    /// Where a link leads.
    Link(&'static str),
    /// The names in a folder.
    Names(&'static str),
    /// By system calls, which the program has under the probe's id.
    Call,
}

/// What tells that a resource is the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// The value inside is one that the host has at that time.
    Equal,
    /// The number inside lies between those of the host before and after.
    Within,
    /// The value inside contains the host's name of the instance's cgroup.
    Named,
    /// The attempt succeeds, on a resource that another probe says is the host's.
    Permitted,
    /// What was made inside is seen on the host.
    Seen,
}

impl Sign {
    /// True when something is read, and nothing is tried or made.
    pub fn is_read(self) -> bool {
        matches!(self, Sign::Equal | Sign::Within | Sign::Named)
    }

    /// For people: what kind of probe that is.
    pub fn kind(self) -> &'static str {
        match self {
            Sign::Equal | Sign::Within | Sign::Named => "read",
            Sign::Permitted => "attempt",
            Sign::Seen => "marker",
        }
    }
}

/// A probe, as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Unique name.
    pub id: &'static str,
    /// Class of its resource.
    pub resource: Resource,
    /// The question.
    pub question: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// Where the interface is described.
    pub source: &'static str,
    /// How it is undone.
    pub undone: &'static str,
    /// How the value is found.
    pub how: How,
    /// What tells that it is the host's.
    pub sign: Sign,
    /// The probe that says whose the resource is: an equal value on another kernel, or in another namespace, is an accident. Empty: the
    /// value itself says it.
    pub of: &'static str,
}

impl Workload {
    /// True when something is measured, of which there are statistics.
    pub fn is_measured(&self) -> bool {
        !self.deciding.is_empty()
    }
}

/// The probe of this id.
pub fn find(id: &str) -> Option<&'static Probe> {
    PROBES.iter().copied().find(|probe| probe.id == id)
}
