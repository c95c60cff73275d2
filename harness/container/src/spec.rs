//! What to start, and the command that starts it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::init::OWN;
use crate::signals;
use crate::streams::{self, Size, Stream};
use crate::sys::{self, Fork};

/// The kinds of namespaces (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// Mount points.
    Mount,
    /// Process ids; the program is process 1.
    Pid,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name.
    Uts,
    /// The visible root of control groups.
    Cgroup,
    /// Network devices, addresses, ports.
    Net,
    /// User ids and capabilities.
    User,
    /// Monotonic and boot clocks.
    Time,
}

impl Namespace {
    /// All eight kinds.
    pub const ALL: [Namespace; 8] = [
        Namespace::Mount,
        Namespace::Pid,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::Cgroup,
        Namespace::Net,
        Namespace::User,
        Namespace::Time,
    ];
    /// The six that Docker makes by default.
    pub const DOCKER: [Namespace; 6] =
        [Namespace::Mount, Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup, Namespace::Net];

    /// Name of its link in `/proc/PID/ns`.
    pub fn link(self) -> &'static str {
        match self {
            Namespace::Mount => "mnt",
            Namespace::Pid => "pid",
            Namespace::Ipc => "ipc",
            Namespace::Uts => "uts",
            Namespace::Cgroup => "cgroup",
            Namespace::Net => "net",
            Namespace::User => "user",
            Namespace::Time => "time",
        }
    }

    /// Its flag of clone(2).
    pub(crate) fn flag(self) -> u64 {
        let flag = match self {
            Namespace::Mount => libc::CLONE_NEWNS,
            Namespace::Pid => libc::CLONE_NEWPID,
            Namespace::Ipc => libc::CLONE_NEWIPC,
            Namespace::Uts => libc::CLONE_NEWUTS,
            Namespace::Cgroup => libc::CLONE_NEWCGROUP,
            Namespace::Net => libc::CLONE_NEWNET,
            Namespace::User => libc::CLONE_NEWUSER,
            Namespace::Time => libc::CLONE_NEWTIME,
        };
        flag as u64
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.link())
    }
}

/// A file or folder of the host that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Path on the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: PathBuf,
    /// Not to be written.
    pub read_only: bool,
}

/// The root file system: a folder of the host, read-only unless it is an overlay, with `/proc`, `/sys`, `/dev` and `/tmp` of its own. Needs
/// [`Namespace::Mount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The folder.
    pub tree: PathBuf,
    /// What is seen of the host besides.
    pub binds: Vec<Bind>,
    /// An overlay instead, as Docker has it: writable, with its upper layer in memory, which goes with the container.
    #[serde(default)]
    pub overlay: bool,
}

/// A file system that only the program and its children see, over a folder of the host: it goes with them. The host's own mounts stay
/// as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// A block device with an ext4 file system, or a folder.
    pub source: PathBuf,
    /// The folder that it covers. With a new root it is seen inside by a [`Bind`] of it.
    pub target: PathBuf,
    /// Files of the host that are bound to other places before, since this covers the folder that they are in.
    pub kept: Vec<Bind>,
    /// Files in it that cover files of the host; only without a new root.
    pub files: Vec<Bind>,
}

/// Ids of a user namespace: 0 to `count` inside are `first` and following outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMap {
    /// Outside id of 0.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// A program to start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Program and arguments; the program is looked up in the `PATH` of `env`, inside.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory, inside; `/` for a new root, else where the starter is.
    pub cwd: Option<String>,
    /// Namespaces of its own.
    pub namespaces: BTreeSet<Namespace>,
    /// New root; with it come few capabilities and `no_new_privs`.
    pub root: Option<Root>,
    /// A file system of its own to work in.
    pub work: Option<Work>,
    /// Capabilities besides the default (Docker's but MKNOD, NET_RAW and AUDIT_WRITE), by name: `SYS_TIME`.
    pub capabilities: Vec<String>,
    /// Docker's default filter of system calls ([`crate::SECCOMP_PROFILE`]), as it is for these capabilities; only with a new root.
    pub seccomp: bool,
    /// Host name inside ([`Namespace::Uts`]).
    pub hostname: Option<String>,
    /// Seconds that boot and monotonic clocks are ahead inside ([`Namespace::Time`]).
    pub time_offset_s: i64,
    /// Ids inside ([`Namespace::User`]).
    pub user_map: Option<UserMap>,
    /// A network namespace to enter instead of making one (its file, such as `/proc/PID/ns/net`); not together with
    /// [`Namespace::Net`].
    pub network: Option<PathBuf>,
    /// The folders of the group to join before anything else, one per hierarchy.
    pub cgroup: Vec<PathBuf>,
    /// Run on all CPUs of the group, whatever CPUs the starter is bound to (taskset(1), `isolcpus=`).
    pub any_cpu: bool,
    /// Kill it when its starter ends: without namespaces, when the thread that started it ends; with them, when the whole process has.
    pub parent_death_signal: bool,
    /// Process 1 is a reaper that passes signals on, and the program is its child.
    pub reaper: bool,
    /// Standard input, output and error. In a new root they are made what they are to be there before anything of it is executed.
    pub streams: [Stream; 3],
    /// The size of the terminal, if one of the streams is one.
    pub window: Size,
    /// Whom to be in the new root: `UID`, `NAME`, `UID:GID` or such; the starter's user when absent. Its home folder is `HOME`, unless
    /// `env` has one.
    pub user: Option<String>,
    /// Say on standard error what was started: pid on the host, namespaces, groups.
    pub announce: bool,
}

impl Spec {
    /// Have it started in a group, on the CPUs of the group where that is limited to some.
    pub fn join(&mut self, group: &Cgroup) {
        self.cgroup = group.paths().to_vec();
        self.any_cpu = group.has_cpus();
    }
}

/// The command that starts a spec, with this very executable. Its process is the program itself when the spec makes no
/// namespace; else it waits for the program, and its exit status is the program's, or 128+n after signal n. Our own failure is
/// 125, a program that cannot be executed 126, one that is not found 127.
pub fn command(spec: &Spec) -> io::Result<Command> {
    let mut file = File::from(memfd_create("spec", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(spec)?)?;
    file.seek(SeekFrom::Start(0))?;
    let file = OwnedFd::from(file);
    // A container could write to the executable of its starter through /proc/self/exe (CVE-2019-5736).
    let executable = sys::read_only_executable()?;
    let [name, rest @ ..] = arguments(&file);
    let mut command = Command::new(path(&executable));
    // What the starter's environment holds is nobody's business inside, where process 1 can be looked at.
    command.arg0(name).args(rest).env_clear();
    let hook = move || {
        // Moved in to live as long as the command.
        let _ = &executable;
        Ok(fcntl_setfd(&file, FdFlags::empty())?)
    };
    // SAFETY: the hook runs between fork and exec and makes one system call; it neither allocates nor locks.
    unsafe { command.pre_exec(hook) };
    Ok(command)
}

fn path(executable: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", executable.as_raw_fd())
}

/// From whom it is to read its spec, and who this is, its starter.
fn arguments(spec: &OwnedFd) -> [String; 4] {
    let starter = std::process::id().to_string();
    ["bench".to_owned(), "container-init".to_owned(), spec.as_raw_fd().to_string(), starter]
}

/// A process that begins while what it is to start is still being prepared. When it is not told, it ends.
#[derive(Debug)]
pub struct Starter {
    pid: Pid,
    spec: UnixStream,
}

impl Starter {
    /// Begin; what [`command`] says of the process holds. Only for processes without threads. It does not wait for exec as
    /// [`Command::spawn`] does, which is a good part of the time that a container takes to start.
    pub fn begin() -> io::Result<Starter> {
        let executable = sys::read_only_executable()?;
        let (reader, spec) = UnixStream::pair()?;
        let reader = OwnedFd::from(reader);
        let argv = arguments(&reader);
        match sys::clone3(0, None)? {
            Fork::Parent(pid) => {
                // A process moves to an idle CPU when it executes; up to there it may have to run on this one.
                rustix::thread::sched_yield();
                Ok(Starter { pid: Pid::from_raw(pid), spec })
            }
            Fork::Child => {
                let Err(e) = become_init(&executable, argv, &reader);
                eprintln!("bench: container: executing itself: {e}");
                std::process::exit(OWN);
            }
        }
    }

    /// Tell it what to start, with these standard streams; its process id. It passes on every signal that it gets.
    pub fn start(mut self, spec: &Spec, streams: &[OwnedFd; 3]) -> io::Result<Pid> {
        streams::send_descriptors(&self.spec, &streams.each_ref().map(|stream| stream.as_fd()))?;
        self.spec.write_all(&serde_json::to_vec(spec)?)?;
        Ok(self.pid)
    }
}

fn become_init(executable: &OwnedFd, argv: [String; 4], reader: &OwnedFd) -> io::Result<Infallible> {
    // What is sent before it can take signals waits.
    signals::default_actions();
    signals::block_all()?;
    fcntl_setfd(reader, FdFlags::empty())?;
    let argv = argv.map(CString::new).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(nix::unistd::execve::<_, CString>(&CString::new(path(executable))?, &argv, &[])?)
}
