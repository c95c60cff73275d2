//! Executes one [`Job`]: files, program, deadline, output.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::frame::FrameError;
use crate::message::{Bytes, Job, JobFile, JobOutput, JobStatus, Reply, Request, Rusage, Streams};
use crate::serve::{Channel, clock_ns};
use crate::terminal::{Outer, Terminal};

/// Most that is kept of one output stream or collected file.
pub const OUTPUT_LIMIT: u64 = 24 << 20;
/// How much of a forwarded stream travels in one frame.
const PIECE: usize = 64 << 10;

/// A job could not be executed at all (a program that fails is a [`JobOutput`], not an error).
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A name in [`Job::files`] or [`Job::collect`] would leave the scratch directory.
    #[error("'{0}' is not a plain file name")]
    Name(String),
    /// Something of the surroundings failed.
    #[error("{what} {path}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The conductor went away or speaks nonsense; the program was killed.
    #[error(transparent)]
    Channel(#[from] FrameError),
}

/// Execute `job` with `scratch` for its files, forwarding streams and taking signals over `channel`.
pub fn execute(job: &Job, scratch: &Path, channel: &mut Channel<'_>) -> Result<JobOutput, ExecuteError> {
    for file in &job.files {
        let path = scratch.join(plain(&file.name)?);
        fs::write(&path, &file.content.0).map_err(io("writing", &path))?;
    }
    for name in &job.collect {
        // What an earlier job left must not be taken for this job's.
        if !job.files.iter().any(|file| &file.name == name) {
            remove(&scratch.join(plain(name)?))?;
        }
    }
    let captured = Captured::new(job.streams).map_err(io("creating a file for the output in", scratch))?;
    let terminal = terminal(job.streams).map_err(io("making a terminal for", Path::new(program(job))))?;
    let started_ns = clock_ns();
    let mut child = match spawn(job, scratch, &captured, terminal.as_ref()) {
        Ok(child) => child,
        Err(e) => return Ok(not_started(job, &e, started_ns)),
    };
    let waited = wait(job, &mut child, terminal, channel);
    let pid = Pid::from_child(&child);
    // Whatever ended the wait: nothing of the group may outlive its job.
    let _ = kill_process_group(pid, Signal::KILL);
    let (status, rusage) = reap(pid).map_err(io("waiting for", Path::new(&job.argv[0])))?;
    let (deadline_passed, ended_ns) = waited?;
    let output = JobOutput {
        status: if deadline_passed { JobStatus::DeadlinePassed } else { status },
        stdout: captured.read(0),
        stderr: captured.read(1),
        files: collect(&job.collect, scratch)?,
        started_ns,
        ended_ns,
        rusage,
    };
    for name in job.files.iter().map(|file| &file.name).chain(&job.collect) {
        remove(&scratch.join(name))?;
    }
    Ok(output)
}

fn io<'a>(what: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> ExecuteError + 'a {
    move |source| ExecuteError::Io { what, path: path.to_path_buf(), source }
}

/// A name without directories; anything else could leave the scratch directory.
fn plain(name: &str) -> Result<&str, ExecuteError> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') || name.contains('\0') {
        return Err(ExecuteError::Name(name.to_owned()));
    }
    Ok(name)
}

fn remove(path: &Path) -> Result<(), ExecuteError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io("removing", path)(e)),
        _ => Ok(()),
    }
}

/// Where stdout and stderr go when they are kept: files in memory that vanish with the agent.
struct Captured(Option<[File; 2]>);

impl Captured {
    fn new(streams: Streams) -> std::io::Result<Captured> {
        let memory = || -> std::io::Result<File> {
            Ok(File::from(rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC)?))
        };
        Ok(Captured(match streams {
            Streams::Capture => Some([memory()?, memory()?]),
            Streams::Forward | Streams::Terminal { .. } => None,
        }))
    }

    fn stdio(&self, index: usize) -> std::io::Result<Stdio> {
        match &self.0 {
            Some(files) => Ok(Stdio::from(files[index].try_clone()?)),
            None => Ok(Stdio::piped()),
        }
    }

    fn read(&self, index: usize) -> Bytes {
        let mut content = Vec::new();
        if let Some(files) = &self.0 {
            let mut file = &files[index];
            if file.rewind().is_ok() {
                let _ = file.take(OUTPUT_LIMIT).read_to_end(&mut content);
            }
        }
        Bytes(content)
    }
}

fn program(job: &Job) -> &str {
    job.argv.first().map_or("nothing", String::as_str)
}

fn terminal(streams: Streams) -> std::io::Result<Option<Terminal>> {
    match streams {
        Streams::Terminal { window, stderr_apart } => Terminal::open(window, stderr_apart).map(Some),
        Streams::Capture | Streams::Forward => Ok(None),
    }
}

fn spawn(job: &Job, scratch: &Path, captured: &Captured, terminal: Option<&Terminal>) -> std::io::Result<Child> {
    let program = job.argv.first().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(&job.argv[1..])
        .env_clear()
        .envs(job.env.iter().map(|(key, value)| (key, value)))
        .current_dir(job.cwd.as_deref().map_or(scratch, Path::new));
    match terminal {
        // The leader of a session leads a group of its own, too.
        Some(terminal) => terminal.give_to(&mut command)?,
        None => {
            let stdin = if job.streams == Streams::Capture { Stdio::null() } else { Stdio::piped() };
            command.stdin(stdin).stdout(captured.stdio(0)?).stderr(captured.stdio(1)?).process_group(0);
        }
    }
    command.spawn()
}

fn not_started(job: &Job, error: &std::io::Error, now_ns: u64) -> JobOutput {
    let what = match job.argv.first() {
        Some(program) => format!("starting {program}: {error}"),
        None => "the job names no program".to_owned(),
    };
    JobOutput {
        status: JobStatus::NotStarted { errno: error.raw_os_error().unwrap_or(22), what },
        stdout: Bytes::default(),
        stderr: Bytes::default(),
        files: Vec::new(),
        started_ns: now_ns,
        ended_ns: now_ns,
        rusage: Rusage::default(),
    }
}

/// Sleep until the program ends; true when it was the deadline that came first. Returns the clock of that moment too.
fn wait(
    job: &Job,
    child: &mut Child,
    terminal: Option<Terminal>,
    channel: &mut Channel<'_>,
) -> Result<(bool, u64), ExecuteError> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| io("watching", Path::new(&job.argv[0]))(e.into()))?;
    let deadline_ns = if job.deadline_ns == 0 { u64::MAX } else { clock_ns().saturating_add(job.deadline_ns) };
    let forward = Forward::of(child, terminal);
    let mut forward = forward.map_err(io("forwarding the streams of", Path::new(program(job))))?;
    let mut ended_ns = None;
    // After the end of the program what is still in the pipes is forwarded, but nothing is waited for:
    // a daemon that it left behind may hold them open for ever.
    loop {
        let ready = Ready::poll(&pidfd, channel.input, &forward, ended_ns.map_or(deadline_ns, |_| 0))?;
        if ended_ns.is_some() && !ready.output {
            return Ok((false, ended_ns.unwrap_or_default()));
        }
        if ready.output {
            forward.pass_on(channel)?;
        }
        if let Some(terminal) = forward.terminal.as_mut().filter(|_| ready.room) {
            terminal.pass_on();
        }
        if ended_ns.is_none() && ready.ended {
            ended_ns = Some(clock_ns());
        } else if ended_ns.is_none() && clock_ns() >= deadline_ns {
            return Ok((true, clock_ns()));
        } else if ready.input {
            take_input(channel, &mut forward, pid)?;
        }
    }
}

/// What [`poll`] found to do.
struct Ready {
    ended: bool,
    input: bool,
    output: bool,
    /// For what was typed on the job's terminal.
    room: bool,
}

impl Ready {
    fn poll(pidfd: &OwnedFd, input: BorrowedFd<'_>, forward: &Forward, until_ns: u64) -> Result<Ready, ExecuteError> {
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN), PollFd::from_borrowed_fd(input, PollFlags::IN)];
        for pipe in forward.outputs.iter().flatten() {
            fds.push(PollFd::new(pipe, PollFlags::IN));
        }
        let outputs = 2..fds.len();
        fds.extend(forward.wants_room().map(|terminal| PollFd::new(terminal, PollFlags::OUT)));
        let left = Duration::from_nanos(until_ns.saturating_sub(clock_ns()));
        let timeout = (until_ns != u64::MAX)
            .then(|| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(FrameError::Io(e.into()).into()),
        }
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let room = is_ready(outputs.end);
        Ok(Ready { ended: is_ready(0), input: is_ready(1), output: outputs.into_iter().any(is_ready), room })
    }
}

/// The pipes of a job whose streams are forwarded, and its terminal; empty for one whose output is kept.
struct Forward {
    stdin: Option<ChildStdin>,
    outputs: [Option<OwnedFd>; 2],
    terminal: Option<Outer>,
}

impl Forward {
    fn of(child: &mut Child, terminal: Option<Terminal>) -> std::io::Result<Forward> {
        let terminal = terminal.map(Terminal::outer).transpose()?;
        let shown = terminal.as_ref().map(Outer::shown).transpose()?;
        Ok(Forward {
            stdin: child.stdin.take(),
            outputs: [shown.or(child.stdout.take().map(OwnedFd::from)), child.stderr.take().map(OwnedFd::from)],
            terminal,
        })
    }

    /// Where there must be room for what was typed, while the terminal shows anything.
    fn wants_room(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().filter(|_| self.outputs[0].is_some())?.wants_room()
    }

    /// Input of the job; a program that does not want it any more is its own affair.
    fn give(&mut self, bytes: &[u8]) {
        if let Some(terminal) = &mut self.terminal {
            terminal.type_in(bytes);
        } else if let Some(stdin) = &mut self.stdin
            && stdin.write_all(bytes).is_err()
        {
            self.stdin = None;
        }
    }

    /// Send one piece of each stream that has something; forget those that ended.
    fn pass_on(&mut self, channel: &mut Channel<'_>) -> Result<(), ExecuteError> {
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let Some(pipe) = output else { continue };
            let mut fds = [PollFd::new(pipe, PollFlags::IN)];
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut fds, Some(&none)).unwrap_or(0) == 0 {
                continue;
            }
            let mut piece = vec![0; PIECE];
            match rustix::io::read(pipe.as_fd(), &mut piece) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A terminal that nobody has open any more says EIO.
                Ok(0) | Err(_) => *output = None,
                Ok(length) => {
                    piece.truncate(length);
                    let reply = if index == 0 { Reply::Stdout(Bytes(piece)) } else { Reply::Stderr(Bytes(piece)) };
                    channel.reply(&reply)?;
                }
            }
        }
        Ok(())
    }
}

fn take_input(channel: &mut Channel<'_>, forward: &mut Forward, group: Pid) -> Result<(), ExecuteError> {
    match channel.request()? {
        Request::Stdin(bytes) => forward.give(&bytes.0),
        Request::StdinEnd => match &mut forward.terminal {
            Some(terminal) => terminal.end_input(),
            None => forward.stdin = None,
        },
        Request::Resize(window) => forward.terminal.iter().for_each(|terminal| terminal.resize(window)),
        Request::Signal(number) => {
            if let Some(signal) = Signal::from_named_raw(number) {
                let _ = kill_process_group(group, signal);
            }
        }
        Request::Ping => channel.reply(&Reply::Pong { clock_ns: clock_ns() })?,
        Request::Shutdown => return Err(FrameError::Closed.into()),
        _ => channel.reply(&Reply::Refused("a job is being executed".into()))?,
    }
    Ok(())
}

/// wait4(2): the status and what the kernel accounted to the program.
fn reap(pid: Pid) -> std::io::Result<(JobStatus, Rusage)> {
    let mut status = 0;
    // SAFETY: rusage is a plain C struct for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live, writable values of the types that wait4 expects.
        let waited = unsafe { libc::wait4(pid.as_raw_nonzero().get(), &mut status, 0, &mut usage) };
        if waited >= 0 {
            break;
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
    let rusage = Rusage {
        user_ns: ns(usage.ru_utime),
        system_ns: ns(usage.ru_stime),
        max_rss_bytes: usage.ru_maxrss as u64 * 1024,
        major_faults: usage.ru_majflt as u64,
    };
    let status = if libc::WIFSIGNALED(status) {
        JobStatus::Signaled(libc::WTERMSIG(status))
    } else {
        JobStatus::Exited(libc::WEXITSTATUS(status))
    };
    Ok((status, rusage))
}

fn collect(names: &[String], scratch: &Path) -> Result<Vec<JobFile>, ExecuteError> {
    let mut files = Vec::new();
    for name in names {
        let path = scratch.join(plain(name)?);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(io("opening", &path)(e)),
        };
        let mut content = Vec::new();
        file.take(OUTPUT_LIMIT).read_to_end(&mut content).map_err(io("reading", &path))?;
        files.push(JobFile { name: name.clone(), content: Bytes(content) });
    }
    Ok(files)
}
