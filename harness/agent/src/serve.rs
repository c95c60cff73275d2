//! The agent's loop: greet, then answer requests until told to end.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest, Sha256};

use crate::executor::{ExecuteError, execute};
use crate::frame::{FrameError, read_frame, write_frame};
use crate::message::{Greeting, PROTOCOL_VERSION, Reply, Request};

/// Largest text file that [`Request::Read`] brings.
const TEXT_LIMIT: u64 = 1 << 20;

/// The agent could not go on.
#[derive(Debug, thiserror::Error)]
#[error("serving jobs")]
pub struct ServeError(#[from] FrameError);

/// Both directions of the conversation with the conductor.
pub struct Channel<'a> {
    pub(crate) input: BorrowedFd<'a>,
    output: &'a mut dyn Write,
}

impl<'a> Channel<'a> {
    /// Speak over an unbuffered input (it is polled) and any output.
    pub fn new(input: BorrowedFd<'a>, output: &'a mut dyn Write) -> Channel<'a> {
        Channel { input, output }
    }

    pub(crate) fn request(&mut self) -> Result<Request, FrameError> {
        read_frame(&mut FdReader(self.input))
    }

    pub(crate) fn reply(&mut self, reply: &Reply) -> Result<(), FrameError> {
        write_frame(&mut self.output, reply)
    }
}

/// Unbuffered reads, so that `poll` on the descriptor tells the truth.
struct FdReader<'a>(BorrowedFd<'a>);

impl Read for FdReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::io::read(self.0, buffer)?)
    }
}

/// The monotonic clock, in nanoseconds.
pub fn clock_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The monotonic clock when this was asked for the first time: by a program that may become an agent, as the first thing.
pub fn beginning_ns() -> u64 {
    static BEGINNING: OnceLock<u64> = OnceLock::new();
    *BEGINNING.get_or_init(clock_ns)
}

/// Greet, then serve requests, with `scratch` for the files of jobs, until the other side says so or goes away.
pub fn serve(
    input: BorrowedFd<'_>,
    output: &mut dyn Write,
    scratch: &Path,
    warnings: Vec<String>,
) -> Result<(), ServeError> {
    let mut channel = Channel::new(input, output);
    channel.reply(&Reply::Greeting(greeting(warnings)))?;
    loop {
        let request = match channel.request() {
            Ok(Request::Shutdown) | Err(FrameError::Closed) => return Ok(()),
            Ok(request) => request,
            Err(e) => return Err(e.into()),
        };
        let reply = match request {
            Request::Ping => Reply::Pong { clock_ns: clock_ns() },
            Request::Digest(paths) => Reply::Digests(paths.iter().map(|path| sha256(Path::new(path)).ok()).collect()),
            Request::Read(paths) => Reply::Texts(paths.iter().map(|path| text(path)).collect()),
            Request::Execute(job) => {
                let executed = execute(&job, scratch, &mut channel);
                end_orphans();
                match executed {
                    Ok(output) => Reply::Done(Box::new(output)),
                    Err(ExecuteError::Channel(FrameError::Closed)) => return Ok(()),
                    Err(ExecuteError::Channel(e)) => return Err(e.into()),
                    Err(e) => Reply::Refused(chain(&e)),
                }
            }
            // The tail of a forwarded job that ended before its input did.
            Request::Stdin(_) | Request::StdinEnd | Request::Resize(_) | Request::Signal(_) => continue,
            Request::Shutdown => return Ok(()),
        };
        channel.reply(&reply)?;
    }
}

/// Have what jobs leave behind ended with them: fio's workers are in sessions of their own, where no signal to the job's group
/// reaches them, and would be the next job's load. For a process that is an agent and nothing else, before [`serve`].
pub fn adopt_orphans() {
    // A kernel without it (before 3.4) leaves them to process 1, as ever.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Kill and reap all children. The agent executes one job at a time: whatever is left belongs to the last one, and what the
/// killed had started becomes ours in turn.
fn end_orphans() {
    use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
    if !matches!(rustix::process::child_subreaper(), Ok(Some(_))) {
        return;
    }
    loop {
        let children: Vec<Pid> =
            processes().into_iter().filter(|(_, parent)| *parent == getpid()).map(|(pid, _)| pid).collect();
        if children.is_empty() {
            return;
        }
        for child in children {
            let _ = kill_process(child, Signal::KILL);
            let _ = waitpid(Some(child), WaitOptions::empty());
        }
    }
}

/// All processes that can be seen, with their parents (proc_pid_stat(5)).
fn processes() -> Vec<(rustix::process::Pid, rustix::process::Pid)> {
    use rustix::process::Pid;
    let number = |text: &str| text.parse().ok().and_then(Pid::from_raw);
    let of = |name: String| {
        let stat = fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
        // The program's name in parentheses may hold anything.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        Some((number(&name)?, number(parent)?))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| of(entry.file_name().into_string().ok()?)).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(path: &str) -> Option<String> {
    let mut content = Vec::new();
    File::open(path).ok()?.take(TEXT_LIMIT).read_to_end(&mut content).ok()?;
    Some(String::from_utf8_lossy(&content).into_owned())
}

fn greeting(warnings: Vec<String>) -> Greeting {
    let uname = rustix::system::uname();
    Greeting {
        protocol: PROTOCOL_VERSION,
        kernel_release: uname.release().to_string_lossy().into_owned(),
        hostname: uname.nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        cpus: std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
        clock_source: fs::read_to_string(CLOCK_SOURCE).ok().map(|text| clock_source(&text)),
        clock_read_ns: clock_read_ns(),
        clock_ns: clock_ns(),
        began_ns: beginning_ns(),
        warnings,
    }
}

/// Where Linux says which clock it reads.
pub const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// The name in [`CLOCK_SOURCE`]. For about a second after its boot a kernel calls the processor's counter `tsc-early`
/// (arch/x86/kernel/tsc.c, until its rate is known better): no other clock, though a guest is asked now before and now after.
pub fn clock_source(text: &str) -> String {
    crate::printable(text.trim().trim_end_matches("-early"), 100)
}

/// Mean cost of one clock read; fio reads the clock twice per I/O, so a slow clock source slows the I/O.
fn clock_read_ns() -> f64 {
    const READS: u64 = 2_000;
    let start = clock_ns();
    for _ in 1..READS {
        std::hint::black_box(clock_ns());
    }
    (clock_ns() - start) as f64 / READS as f64
}
