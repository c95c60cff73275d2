//! The kinds of environments, one file for each: everything that depends on the kind.
//!
//! A [`Kind`] knows its options and what they need on the host, and prepares an environment of the run. What is [`Prepared`] starts
//! instances. An instance that is [`Running`] is paused, looked at and diagnosed. Nothing outside of this folder asks of which kind an
//! environment is: a new kind is a file here and a line in [`KINDS`].

mod contained;
mod container;
mod docker;
#[cfg(test)]
#[path = "tests/niced.rs"]
mod example;
mod native;
mod oci;
mod options;
mod qemu;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitStatus;

use anyhow::Result;
use bench_agent::Greeting;
use bench_container::Limits;
use bench_results::record::{Accelerator, Capability, Class};
use bench_vm::{Disk, Resident};
use bench_workloads::{EnvironmentDefinition, EnvironmentError, Kinds};

use self::options::Described;
use crate::conductor::agent_client::AgentClient;
use crate::conductor::evidence::GuestLook;
use crate::conductor::instance::{Ground, PlanGroup, Setting};
use crate::conductor::process::Process;
use crate::host::cpus;
use crate::host::fingerprint::Fingerprint;
use crate::host::target::Checked;
use crate::netlab::{Route, User};

pub use docker::{EngineObject, SayEngine, remove_of_engine, say_engine};

/// All kinds, in the order in which they are listed.
static KINDS: &[&dyn Kind] = &[
    &native::Native,
    &container::Container,
    &docker::Docker,
    &oci::Oci,
    &qemu::Qemu,
    // That of docs/ADD-AN-ENVIRONMENT.md.
    #[cfg(test)]
    &example::Niced,
];

/// Where `bench` is in a root that is made of the tools tree: a container's, a guest's, the peer's.
pub const BENCH: &str = "/bench";

/// Something that takes its time.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// A kind of environment.
pub trait Kind: Sync {
    /// Its name, in definitions and records.
    fn name(&self) -> &'static str;

    /// By which reports tell it from others.
    fn class(&self) -> Class;

    /// What its environments have that others have not.
    fn capabilities(&self) -> &'static [Capability] {
        &[]
    }

    /// True where programs are executed from the host's own files, at their places there.
    fn has_the_hosts_files(&self) -> bool {
        false
    }

    /// Its options, for people.
    fn options(&self) -> Vec<Described>;

    /// Refuse an option that it has not, or a value that the option does not take.
    fn check_option(&self, option: &str, value: &str) -> Result<(), EnvironmentError>;

    /// Refuse options that are not enough.
    fn check_options(&self, _options: &BTreeMap<String, String>) -> Result<(), EnvironmentError> {
        Ok(())
    }

    /// Its options that name a program of the host.
    fn programs(&self) -> &'static [&'static str] {
        &["fio"]
    }

    /// How an environment reaches the peer; `networked`: it has to, whether its definition says how or not.
    fn route(&self, definition: &EnvironmentDefinition, networked: bool) -> Result<Option<Route>>;

    /// What it needs on the host, as far as it can be told before anything is changed or started.
    fn check(&self, definition: &EnvironmentDefinition, target: Option<&Checked>) -> Result<()>;

    /// True where an environment is emulated as far as can be told without a boot.
    fn is_emulated(&self, _definition: &EnvironmentDefinition) -> Result<bool> {
        Ok(false)
    }

    /// Find out, once for the run, what the definition needs.
    fn prepare<'a>(
        &'a self,
        definition: &'a EnvironmentDefinition,
        route: Option<Route>,
        setting: &'a Setting,
    ) -> Doing<'a, Prepared>;
}

/// What is the same for all instances of an environment of the run.
pub struct Prepared {
    /// The fio to measure with; absent: the installed one.
    pub fio: Option<PathBuf>,
    /// Where the target is inside; absent without one.
    pub target: Option<String>,
    /// Where `bench` is inside.
    pub bench: String,
    /// Who uses its lab, if it has one.
    pub user: User,
    /// The network namespace that is the host's in its lab; absent: one that the lab makes.
    pub host_network: Option<PathBuf>,
    /// Finds the place of its cgroup.
    pub plan_group: PlanGroup,
    /// Limits of its cgroup.
    pub limits: Limits,
    /// Programs of the host that it consists of, apart from measured ones.
    pub programs: Vec<PathBuf>,
    /// Other files of the host that it consists of.
    pub files: Vec<PathBuf>,
    /// True where measured programs are executed from their copies in the tools tree.
    pub is_copied: bool,
    /// What executes the instructions inside, where that is not the host's CPU alone.
    pub accelerator: Option<Accelerator>,
    /// Why it has the accelerator it has, when that is not the best.
    pub accelerator_note: Option<String>,
    /// The disk that commands work on; absent where the work folder is mounted on the host.
    pub work_disk: Option<Disk>,
    /// Filters of system calls that hold programs inside, besides those that hold `bench`; absent where those do not hold either.
    pub filters: Option<u64>,
    /// Type of the file system that must be its root; absent where any will do.
    pub root: Option<&'static str>,
    /// What says inside how the target's I/O is scheduled; absent: the host's kernel schedules it.
    pub scheduler: Option<&'static str>,
    /// For the sameness table: how its memory is limited.
    pub memory: String,
    /// For the sameness table: what holds it.
    pub isolation: String,
    /// For the sameness table: how it comes to the target; absent without one.
    pub storage: Option<String>,
    /// For the sameness table, after its route to the peer: what moves its packets.
    pub moved_by: &'static str,
    /// Starts its instances.
    pub start: Box<dyn Start>,
}

/// What environments of a kind have in common in a run: it is made for the first, and goes with the ledger.
#[derive(Default)]
pub struct Shared {
    engines: docker::Engines,
}

/// Starts the instances of a prepared environment.
pub trait Start {
    /// Start one on this ground, and wait for its agent's greeting; an error says why it did not come.
    fn start<'a>(&'a self, setting: &'a Setting, ground: &'a Ground<'_>) -> Doing<'a, Parts>;

    /// Facts of it for the fingerprint.
    fn describe(&self, _facts: &mut Fingerprint) {}
}

/// What an instance consists of when it has started.
pub struct Parts {
    /// The conversation with the agent.
    pub agent: AgentClient,
    /// What the agent said first.
    pub greeting: Greeting,
    /// The first process on the host.
    pub child: Process,
    /// What else depends on its kind.
    pub running: Box<dyn Running>,
}

/// What tells how an instance was really run.
#[derive(Default)]
pub struct Logs {
    /// Name and content.
    pub texts: Vec<(&'static str, Vec<u8>)>,
    /// Files in its folder.
    pub files: Vec<PathBuf>,
}

/// A running instance, apart from its agent. What is not said is as with a process of the host.
pub trait Running {
    /// Let it wait without costing anything. An agent sleeps in `read` all by itself.
    fn pause(&mut self) -> Doing<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Let it go on.
    fn resume(&mut self) -> Doing<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// What its own kernel and its VMM count and say, before or after a job; absent where it has neither.
    fn look<'a>(&'a mut self, _agent: &'a mut AgentClient, _setting: &'a Setting) -> Doing<'a, Option<GuestLook>> {
        Box::pin(async { Ok(None) })
    }

    /// Resident memory of its first process by what it holds; absent where that is no VMM.
    fn resident(&self, _pid: u32) -> Option<Resident> {
        None
    }

    /// End it in its own way, before all that is left on its ground is killed.
    fn end<'a>(&'a mut self, _ground: &'a Ground<'_>, _child: &'a mut Process) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Names of the host's processes that work for it without being in its cgroup: their CPU time is told beside its own.
    fn helpers(&self) -> &'static [&'static str] {
        &[]
    }

    /// What there is to keep when it ends.
    fn logs(&mut self) -> Doing<'_, Logs> {
        Box::pin(async { Ok(Logs::default()) })
    }

    /// Why the conversation with it broke, when its first process has ended.
    fn diagnose(&self, error: anyhow::Error, ended: ExitStatus) -> anyhow::Error {
        error.context(format!("its first process ended ({ended})"))
    }
}

/// A process of the host.
struct OnHost;

impl Running for OnHost {}

/// The registry, for those who read definitions.
struct Registry;

impl Kinds for Registry {
    fn check(&self, kind: &str) -> Result<(), EnvironmentError> {
        find(kind).map(drop)
    }

    fn check_option(&self, kind: &str, option: &str, value: &str) -> Result<(), EnvironmentError> {
        find(kind)?.check_option(option, value)
    }

    fn check_options(&self, kind: &str, options: &BTreeMap<String, String>) -> Result<(), EnvironmentError> {
        find(kind)?.check_options(options)
    }
}

/// The kinds that a suite's environments may be of.
pub fn kinds() -> &'static dyn Kinds {
    &Registry
}

/// A definition as the user writes it.
pub fn read(text: &str) -> Result<EnvironmentDefinition, EnvironmentError> {
    EnvironmentDefinition::parse(text, &Registry)
}

/// For people: the options of each kind, as they are written, and what they are for.
pub fn described() -> Vec<Vec<String>> {
    let of_kind = |kind: &&dyn Kind| {
        let name = kind.name();
        let row = move |option: Described| vec![format!("{name}:{}", option.form), option.text];
        kind.options().into_iter().map(row).collect::<Vec<_>>()
    };
    KINDS.iter().flat_map(of_kind).collect()
}

/// A kind by its name.
fn find(name: &str) -> Result<&'static dyn Kind, EnvironmentError> {
    let found = KINDS.iter().copied().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name()).collect();
        let known = match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => String::new(),
        };
        EnvironmentError::Kind { name: name.to_owned(), known }
    })
}

/// The kind of an environment.
pub fn kind_of(definition: &EnvironmentDefinition) -> Result<&'static dyn Kind, EnvironmentError> {
    find(&definition.kind)
}

/// True where an environment's programs are executed from the host's own files.
pub fn has_the_hosts_files(definition: &EnvironmentDefinition) -> bool {
    kind_of(definition).is_ok_and(|kind| kind.has_the_hosts_files())
}

/// The limits that hold for every environment.
fn limits(setting: &Setting) -> Limits {
    Limits { cpus: Some(cpus::format(&setting.cpus)), ..Limits::default() }
}

/// What the target is, in words; absent without one.
fn storage(setting: &Setting) -> Option<String> {
    let target = &setting.target.as_ref()?.target;
    Some(match &target.file_system {
        Some(name) => format!("file on {name}"),
        None => "block device".to_owned(),
    })
}
