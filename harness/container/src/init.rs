//! `container-init`: joins the group, makes namespaces and root, executes the program, and waits for it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::reaper::{reap, stand_for};
use crate::spec::{Namespace, Spec};
use crate::sys::{self, Fork};
use crate::{capabilities, image_name, mounts, program, seccomp, signals, streams, user, work};

/// Our own failure.
pub(crate) const OWN: i32 = 125;
/// The program cannot be executed.
pub(crate) const NOT_EXECUTABLE: i32 = 126;
/// The program is not there.
pub(crate) const NOT_FOUND: i32 = 127;

/// What failed, for standard error and the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: i32,
    pub(crate) doing: String,
    pub(crate) source: Option<io::Error>,
}

impl Failure {
    /// A failure of ours.
    pub(crate) fn own(doing: impl Into<String>, source: Option<io::Error>) -> Failure {
        Failure { status: OWN, doing: doing.into(), source }
    }

    /// With the exit status that it has.
    pub(crate) fn of(status: i32, doing: String) -> Failure {
        Failure { status, doing, source: None }
    }

    /// Say it and end.
    pub(crate) fn exit(&self) -> ! {
        match &self.source {
            Some(source) => eprintln!("bench: container: {}: {source}", self.doing),
            None => eprintln!("bench: container: {}", self.doing),
        }
        std::process::exit(self.status)
    }
}

/// Say what was being done.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|e| Failure::own(what, Some(e.into())))
    }
}

/// The main of `bench container-init FD STARTER`; must be called before any thread exists.
pub fn init_main() -> ! {
    let started =
        read_spec().and_then(|spec| if spec.namespaces.is_empty() { become_program(&spec) } else { contain(&spec) });
    match started {
        Ok(status) => std::process::exit(status),
        Err(failure) => failure.exit(),
    }
}

fn read_spec() -> Result<Spec, Failure> {
    let number = argument(2)?;
    let mut text = Vec::new();
    let file = sys::take_fd(number).doing("taking over what to start")?;
    // What waits on a socket gets its streams with it; else they are its own already.
    if is_socket(&file) && !streams::take_over(&file).doing("taking over the streams")? {
        std::process::exit(OWN);
    }
    let mut file = File::from(file);
    file.read_to_end(&mut text).doing("reading what to start")?;
    if text.is_empty() {
        // The starter ended or gave up, and has said why.
        std::process::exit(OWN);
    }
    drop(file);
    // Whatever else a careless caller left open is nobody's business, and would lead a path of the root folder to the host.
    sys::close_others().doing("closing descriptors")?;
    serde_json::from_slice(&text).map_err(io::Error::from).doing("understanding what to start")
}

fn is_socket(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_socket())
}

fn argument(at: usize) -> Result<i32, Failure> {
    let number = std::env::args().nth(at).and_then(|number| number.parse().ok());
    number.ok_or_else(|| Failure::own("container-init is started by bench itself", None))
}

/// No namespaces: join the group and be the program.
fn become_program(spec: &Spec) -> Result<i32, Failure> {
    die_with_parent(spec, Signal::KILL)?;
    enter_network(spec)?;
    join_v1(spec)?;
    if let Some(group) = unified(spec).filter(|group| limits_or_counts(group, spec)) {
        join(&group.join("cgroup.procs"))?;
    }
    leave_affinity(spec)?;
    mount_work(spec)?;
    execute(spec)
}

/// Mounts of this process and its children alone. For a user namespace as well they are made out here: it may mount no disk.
fn mount_work(spec: &Spec) -> Result<(), Failure> {
    let Some(work) = &spec.work else { return Ok(()) };
    sys::unshare(Namespace::Mount.flag()).doing("making a mount namespace")?;
    work::mount_work(work)
}

/// Enter the network namespace that somebody else made; all that is started from here on is in it.
fn enter_network(spec: &Spec) -> Result<(), Failure> {
    let Some(path) = &spec.network else { return Ok(()) };
    let doing = || format!("entering the network namespace {}", path.display());
    let file = File::open(path).doing(doing())?;
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).doing(doing())
}

/// The starter whose end is this process' end, if any.
fn die_with_parent(spec: &Spec, by: Signal) -> Result<Option<i32>, Failure> {
    if !spec.parent_death_signal {
        return Ok(None);
    }
    set_parent_process_death_signal(Some(by)).doing("asking to end with the starter")?;
    let starter = argument(3)?;
    // It may have ended before it was asked for.
    if is_orphan(starter) {
        std::process::exit(OWN);
    }
    Ok(Some(starter))
}

/// True when the starter is no more.
pub(crate) fn is_orphan(starter: i32) -> bool {
    nix::unistd::getppid().as_raw() != starter
}

/// Join the v1 groups as a process with one thread: their `tasks` takes 0.2 ms, `cgroup.procs` 10 ms.
fn join_v1(spec: &Spec) -> Result<(), Failure> {
    let mut groups = spec.cgroup.iter().filter(|group| !sys::is_cgroup2(group));
    groups.try_for_each(|group| join(&group.join("tasks")))
}

fn join(file: &Path) -> Result<(), Failure> {
    fs::write(file, "0").doing(format!("joining {}", file.display()))
}

/// Whether a group of cgroup2 has controllers, or the CPU time that no v1 hierarchy counts. Else it matters to a cgroup namespace
/// only, and joining takes 10 ms.
fn limits_or_counts(group: &Path, spec: &Spec) -> bool {
    let has_controllers =
        fs::read_to_string(group.join("cgroup.controllers")).is_ok_and(|names| !names.trim().is_empty());
    has_controllers || !spec.cgroup.iter().any(|group| group.join("cpuacct.usage").exists())
}

/// Run wherever the group may: joining it keeps the CPUs that the starter was bound to, as far as they are among the group's.
fn leave_affinity(spec: &Spec) -> Result<(), Failure> {
    if !spec.any_cpu {
        return Ok(());
    }
    sys::run_anywhere().doing("leaving the CPUs that bench itself is bound to")
}

/// The group in cgroup2: a process is best started in it.
fn unified(spec: &Spec) -> Option<&PathBuf> {
    spec.cgroup.iter().find(|group| sys::is_cgroup2(group))
}

/// Make what has to be made from outside, start process 1, and wait for it.
fn contain(spec: &Spec) -> Result<i32, Failure> {
    // This process outlives its starter to kill process 1: the kernel clears the death signal of a process that changes its user.
    let starter = die_with_parent(spec, Signal::TERM)?;
    // From here on signals are for the program, and those of the starter's group and terminal are not for this process.
    signals::block_all().doing("blocking signals")?;
    streams::lead_session()?;
    enter_network(spec)?;
    mount_work(spec)?;
    if spec.namespaces.contains(&Namespace::Time) {
        make_time(spec.time_offset_s)?;
    }
    // Written or closed: process 1 may go on. Closed by its exec: it has become the program.
    let (mut go_in, mut go_out) = io::pipe().doing("making a pipe")?;
    let (done_in, done_out) = io::pipe().doing("making a pipe")?;
    let group = unified(spec);
    let group = group.map(|group| File::open(group).doing(format!("opening {}", group.display()))).transpose()?;
    let later = [Namespace::Time, Namespace::Cgroup];
    let flags = spec.namespaces.iter().filter(|kind| !later.contains(kind)).map(|kind| kind.flag()).sum();
    match sys::clone3(flags, group.as_ref()).doing("making namespaces")? {
        Fork::Child => {
            drop((go_out, done_in, group));
            let mut byte = [0];
            match go_in.read(&mut byte) {
                Ok(1) => {}
                _ => std::process::exit(OWN),
            }
            drop(go_in);
            match process_one(spec, &done_out) {
                Ok(status) => std::process::exit(status),
                Err(failure) => failure.exit(),
            }
        }
        Fork::Parent(pid) => {
            drop((go_in, done_out, group));
            if let Err(failure) = map_ids(spec, pid) {
                drop(go_out);
                drop(stand_for(pid, starter));
                return Err(failure);
            }
            go_out.write_all(b"g").doing("letting process 1 go on")?;
            drop(go_out);
            if spec.announce {
                wait_for_program(&done_in, starter, pid);
                announce(spec, pid);
            }
            stand_for(pid, starter)
        }
    }
}

/// Wait until process 1 has become the program, or has failed. A slow file system can delay that, and the starter can end meanwhile.
fn wait_for_program(done: &PipeReader, starter: Option<i32>, pid: i32) {
    const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    while poll(&mut [PollFd::new(done, PollFlags::IN)], Some(&LOOK_EVERY)) == Ok(0) {
        if starter.is_some_and(is_orphan) {
            let _ = signals::send(pid, libc::SIGKILL);
        }
    }
}

/// A time namespace applies to children; its clocks must be set before the first of them (time_namespaces(7)).
fn make_time(offset_s: i64) -> Result<(), Failure> {
    sys::unshare(Namespace::Time.flag()).doing("making a time namespace")?;
    if offset_s != 0 {
        let text = format!("monotonic {offset_s} 0\nboottime {offset_s} 0\n");
        fs::write("/proc/self/timens_offsets", text).doing(format!("moving the clocks by {offset_s} s"))?;
    }
    Ok(())
}

fn map_ids(spec: &Spec, pid: i32) -> Result<(), Failure> {
    let Some(map) = spec.user_map.filter(|_| spec.namespaces.contains(&Namespace::User)) else { return Ok(()) };
    for name in ["uid_map", "gid_map"] {
        let file = format!("/proc/{pid}/{name}");
        fs::write(&file, format!("0 {} {}\n", map.first, map.count)).doing(format!("writing {file}"))?;
    }
    Ok(())
}

fn announce(spec: &Spec, pid: i32) {
    let link = |kind: &Namespace| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let links: Vec<_> = spec.namespaces.iter().filter_map(link).map(|link| link.display().to_string()).collect();
    let groups: Vec<_> = spec.cgroup.iter().map(|group| group.display().to_string()).collect();
    if !links.is_empty() {
        eprintln!("bench: process {pid} on the host; namespaces {}; cgroup {}", links.join(" "), groups.join(" "));
    }
}

/// Inside: the rest of the namespaces, the root, what may be done; then the program. `done`: a pipe that is read by the starter.
fn process_one(spec: &Spec, done: &PipeWriter) -> Result<i32, Failure> {
    streams::lead_session()?;
    join_v1(spec)?;
    leave_affinity(spec)?;
    if spec.namespaces.contains(&Namespace::Cgroup) {
        // Its root is where the maker is: only now, after joining.
        sys::unshare(Namespace::Cgroup.flag()).doing("making a cgroup namespace")?;
    }
    let sources = spec.root.as_ref().map(|root| mounts::Sources::open(root, &spec.namespaces)).transpose()?;
    if spec.namespaces.contains(&Namespace::User) {
        become_root_inside()?;
    }
    end_with_starter(done)?;
    if let Some(name) = spec.hostname.as_ref().filter(|_| spec.namespaces.contains(&Namespace::Uts)) {
        nix::unistd::sethostname(name).doing(format!("setting the host name to `{name}`"))?;
    }
    if spec.namespaces.contains(&Namespace::Net) {
        crate::device::up("lo").doing("bringing the loopback device up")?;
    }
    if let Some(sources) = sources {
        sys::own_session_keyring().doing("leaving the starter's keys behind")?;
        sources.enter(&spec.namespaces)?;
        streams::make_own(spec)?;
        // From here on paths of the root folder are followed.
        sys::close_others_but(done).doing("closing descriptors")?;
        program::refuse_folders()?;
        capabilities::limit(&spec.capabilities)?;
        rustix::thread::set_no_new_privs(true).doing("giving up new privileges")?;
    }
    match &spec.user {
        Some(wanted) => {
            let spec = user::become_user(wanted, spec)?;
            // The kernel forgets it with every change of user.
            end_with_starter(done)?;
            go_on(&spec)
        }
        None => {
            if spec.root.is_some() {
                nix::unistd::setgroups(&[]).doing("dropping the starter's groups")?;
            }
            go_on(spec)
        }
    }
}

fn go_on(spec: &Spec) -> Result<i32, Failure> {
    if spec.reaper {
        return reap(spec);
    }
    streams::take_terminal(spec)?;
    execute(spec)
}

/// Be killed when the starter ends, which `done` is read by.
fn end_with_starter(done: &PipeWriter) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing("asking to end with the starter")?;
    // It may have ended before it was asked for; its process id does not say so in here.
    if sys::is_read_by_nobody(done).doing("looking for the starter")? {
        std::process::exit(OWN);
    }
    Ok(())
}

fn become_root_inside() -> Result<(), Failure> {
    let (uid, gid) = (nix::unistd::Uid::from_raw(0), nix::unistd::Gid::from_raw(0));
    nix::unistd::setgroups(&[]).doing("dropping groups")?;
    nix::unistd::setresgid(gid, gid, gid).doing("becoming group 0 of the user namespace")?;
    nix::unistd::setresuid(uid, uid, uid).doing("becoming user 0 of the user namespace")
}

/// Called last before the program is executed, so that the filter need not allow any step of the start.
pub(crate) fn filter_calls(spec: &Spec) -> Result<(), Failure> {
    if spec.seccomp { seccomp::install(&spec.capabilities) } else { Ok(()) }
}

/// Be the program. Only returns when that fails.
pub(crate) fn execute(spec: &Spec) -> Result<i32, Failure> {
    program::enter_working_directory(spec)?;
    let text = |value: &str| CString::new(value).map_err(io::Error::from).doing(format!("passing `{value}` on"));
    let argv = spec.argv.iter().map(|word| text(word)).collect::<Result<Vec<_>, _>>()?;
    let env = spec.env.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect::<Result<Vec<_>, _>>()?;
    let program = spec.argv.first().ok_or_else(|| Failure::own("there is no program to start", None))?;
    let path = program::find(program, spec)?;
    signals::default_actions();
    signals::unblock_all().doing("unblocking signals")?;
    sys::close_on_exec().doing("closing descriptors")?;
    filter_calls(spec)?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from).doing("passing the program on")?;
    let Err(errno) = nix::unistd::execve(&path, &argv, &env);
    if errno == nix::errno::Errno::ENOENT && !Path::new(program).exists() {
        return Err(image_name::not_found(program, format!("there is no `{program}`")));
    }
    let status = if errno == nix::errno::Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE };
    Err(Failure { status, doing: format!("executing `{program}`"), source: Some(errno.into()) })
}
