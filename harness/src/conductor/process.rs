//! The first process of an instance, and what it says on its standard output where that is kept.

use std::fs::File;
use std::future::Future;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::prctl::set_child_subreaper;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Most bytes of a guest's console that are kept. They are kept in memory, and a guest can write without end.
const CONSOLE_LIMIT: usize = 1 << 20;
/// How long the last words of an ended process may take to be written down.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A started process.
pub struct Process {
    who: Who,
    console: Option<JoinHandle<()>>,
}

/// Whose child it is.
enum Who {
    /// Ours.
    Child(Child),
    /// Ours by now.
    Adopted(Adopted),
    /// Somebody else's, who tells its end.
    Others { pid: u32, end: JoinHandle<io::Result<ExitStatus>>, told: Option<Result<ExitStatus, String>> },
}

impl From<Child> for Process {
    fn from(child: Child) -> Process {
        Process { who: Who::Child(child), console: None }
    }
}

impl From<Adopted> for Process {
    fn from(adopted: Adopted) -> Process {
        Process { who: Who::Adopted(adopted), console: None }
    }
}

impl Process {
    /// Keep the end of what it says, which is piped, in this file.
    pub fn keeping_console(mut child: Child, file: &Path) -> Result<Process> {
        let output = child.stdout.take().context("the process has no standard output to keep")?;
        let file = File::create(file).with_context(|| format!("creating {}", file.display()))?;
        let console = tokio::task::spawn_local(async move { drop(keep(output, file).await) });
        Ok(Process { who: Who::Child(child), console: Some(console) })
    }

    /// A process that somebody else has started, who tells how it ends.
    pub fn of_others(pid: u32, end: impl Future<Output = io::Result<ExitStatus>> + 'static) -> Process {
        Process { who: Who::Others { pid, end: tokio::task::spawn_local(end), told: None }, console: None }
    }

    /// Its id, until it was waited for.
    pub fn id(&self) -> Option<u32> {
        match &self.who {
            Who::Child(child) => child.id(),
            Who::Adopted(adopted) => adopted.id(),
            Who::Others { pid, told, .. } => told.is_none().then_some(*pid),
        }
    }

    /// Wait for its end, and until its last words are written down.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = match &mut self.who {
            Who::Child(child) => child.wait().await,
            Who::Adopted(adopted) => adopted.wait().await,
            Who::Others { told: Some(told), .. } => told.clone().map_err(io::Error::other),
            Who::Others { end, told, .. } => {
                let ended = end.await.map_err(io::Error::other).and_then(|ended| ended);
                told.insert(ended.map_err(|e| e.to_string())).clone().map_err(io::Error::other)
            }
        };
        if let Some(console) = self.console.take() {
            drop(timeout(LAST_WORDS, console).await);
        }
        status
    }

    /// Wait for its end, which was brought about. When who started it cannot tell any more, that is an end as well.
    pub async fn end(&mut self) -> io::Result<()> {
        match (self.wait().await, &self.who) {
            (Ok(_), _) | (Err(_), Who::Others { .. }) => Ok(()),
            (Err(e), _) => Err(e),
        }
    }
}

/// While it lives, orphans among this process' descendants become its children.
pub struct Subreaper(());

impl Subreaper {
    /// From now on.
    pub fn begin() -> Result<Subreaper> {
        set_child_subreaper(true).context("asking for the orphans of a runtime")?;
        Ok(Subreaper(()))
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        // Others' orphans are process 1's, which reaps them.
        let _ = set_child_subreaper(false);
    }
}

/// A child of this process that another process made, and left to it by ending.
pub struct Adopted {
    pid: Pid,
    descriptor: AsyncFd<OwnedFd>,
    ended: Option<ExitStatus>,
}

impl Adopted {
    /// The child of this number; an error where it is none.
    pub fn take(number: i32) -> io::Result<Adopted> {
        let pid = Pid::from_raw(number).filter(|_| number > 0).ok_or(io::ErrorKind::InvalidInput)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: an `OwnedFd` has one descriptor as long as it lives.
        let descriptor = unsafe { AsyncFd::register(descriptor) }?;
        let mut adopted = Adopted { pid, descriptor, ended: None };
        adopted.reap()?;
        Ok(adopted)
    }

    /// Its id, until it was waited for.
    pub fn id(&self) -> Option<u32> {
        self.ended.is_none().then(|| self.pid.as_raw_nonzero().get() as u32)
    }

    /// Wait for its end. Safe to cancel.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(ended) = self.ended {
                return Ok(ended);
            }
            let mut readable = self.descriptor.readable().await?;
            readable.clear_ready();
            drop(readable);
            self.reap()?;
        }
    }

    /// Kill it, and wait for its end.
    pub async fn kill(&mut self) -> io::Result<()> {
        if self.ended.is_none() {
            pidfd_send_signal(&self.descriptor, Signal::KILL)?;
        }
        self.wait().await.map(drop)
    }

    fn reap(&mut self) -> io::Result<()> {
        if self.ended.is_none()
            && let Some((_, status)) = waitpid(Some(self.pid), WaitOptions::NOHANG)?
        {
            self.ended = Some(ExitStatus::from_raw(status.as_raw()));
        }
        Ok(())
    }
}

/// Write down what comes; when that is too much, forget it and begin anew.
async fn keep(mut from: impl AsyncRead + Unpin, mut file: File) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut kept = 0;
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if kept + length > CONSOLE_LIMIT {
            file.set_len(0)?;
            file.rewind()?;
            kept = 0;
        }
        file.write_all(&buffer[..length])?;
        kept += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, since the whole program asks for orphans or does not.
    #[tokio::test(flavor = "current_thread")]
    async fn the_child_of_a_child_is_adopted_and_waited_for() {
        let orphan = |script: &str| {
            let reaper = Subreaper::begin().unwrap();
            let mut parent = std::process::Command::new("sh");
            let said = parent.args(["-c", &format!("{script} >/dev/null 2>&1 & echo $!")]).output().unwrap();
            drop(reaper);
            String::from_utf8(said.stdout).unwrap().trim().parse::<i32>().unwrap()
        };
        let mut ends = Adopted::take(orphan("(sleep 0.2; exit 7)")).unwrap();
        assert!(ends.id().is_some());
        assert_eq!(ends.wait().await.unwrap().code(), Some(7));
        assert_eq!((ends.id(), ends.wait().await.unwrap().code()), (None, Some(7)));
        let mut killed = Adopted::take(orphan("exec sleep 60")).unwrap();
        killed.kill().await.unwrap();
        assert_eq!(killed.wait().await.unwrap().signal(), Some(9));
        assert!(Adopted::take(std::process::id() as i32).is_err(), "it is no child");
        assert!(Adopted::take(0).is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_end_of_somebody_elses_child_is_told_as_often_as_it_is_asked_for() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let mut ended = Process::of_others(7, async { Ok(ExitStatus::from_raw(3 << 8)) });
                assert_eq!(ended.id(), Some(7));
                for _ in 0..2 {
                    assert_eq!(ended.wait().await.unwrap().code(), Some(3));
                }
                assert_eq!(ended.id(), None);
                let mut silent = Process::of_others(7, async { Err(io::Error::other("nobody is there")) });
                for _ in 0..2 {
                    assert_eq!(silent.wait().await.unwrap_err().to_string(), "nobody is there");
                }
                silent.end().await.unwrap();
            })
            .await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_console_without_end_keeps_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = [vec![b'x'; 5 * CONSOLE_LIMIT], b"last words".to_vec()].concat();
        keep(&text[..], file.reopen().unwrap()).await.unwrap();
        let kept = std::fs::read(file.path()).unwrap();
        assert!(kept.len() <= CONSOLE_LIMIT && kept.ends_with(b"last words"), "{}", kept.len());
    }
}
