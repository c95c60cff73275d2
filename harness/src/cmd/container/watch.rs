//! Waiting for the end of a container: signals go to its command, and what asks for the end has it after a while.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bench_container::{exit_status, signals};
use nix::libc;
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, WaitStatus, waitpid};

use super::stdio::{INPUT, OUTPUT, Stdio, Unread};
use crate::failure;

/// Signals that ask for the end.
const ENDING: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
/// Those of them that end at once when they come again.
const IMPATIENT: [i32; 2] = [libc::SIGTERM, libc::SIGINT];
/// timeout(1) sends its signal to a process and to its group, within microseconds; a person is slower.
const TWICE: Duration = Duration::from_millis(250);
/// A command whose reader has gone finds out when it writes; one that does not care writes for ever.
const UNREAD: Duration = Duration::from_secs(1);
/// When the container has ended, somebody outside of it may still hold a pipe: how long nothing must come from one.
const QUIET: Duration = Duration::from_millis(100);

/// The signals that come to this process. None of them ends it from here on, but for those that nobody can catch.
pub struct Signals {
    queue: signals::Queue,
    /// Those that keys of the terminal send to somebody else: this process was started in the background of a script.
    not_ours: Vec<i32>,
}

impl Signals {
    /// From now on.
    pub fn catch() -> Result<Signals> {
        // Where a caller ignores it, nobody can be waited for.
        signals::act_by_default(libc::SIGCHLD);
        let is_ignored = |number: &i32| signals::is_ignored(*number).unwrap_or(false);
        // To stop in the background of a terminal, and to be refused by a pipe, goes on as ever.
        let mut left_alone = vec![libc::SIGTTIN, libc::SIGTTOU, libc::SIGPIPE];
        // As nohup(1) wants it.
        left_alone.extend([libc::SIGHUP].into_iter().filter(is_ignored));
        let not_ours = [libc::SIGINT, libc::SIGQUIT].into_iter().filter(is_ignored).collect();
        let queue = signals::Queue::of_all_but(&left_alone).context("catching signals")?;
        Ok(Signals { queue, not_ours })
    }

    fn next(&self) -> Result<Option<i32>> {
        loop {
            match self.queue.next().context("waiting for a signal")? {
                Some(signal) if signal.from_kernel && self.not_ours.contains(&signal.number) => {}
                other => return Ok(other.map(|signal| signal.number)),
            }
        }
    }
}

/// That the container is to end.
struct Stop {
    /// With this exit status, if it does not end by itself.
    status: i32,
    /// By then.
    deadline: Instant,
    /// The signal, and when it came first.
    signal: Option<i32>,
    since: Instant,
}

impl Stop {
    fn after(patience: Duration, status: i32, signal: Option<i32>) -> Stop {
        let since = Instant::now();
        Stop { status, deadline: since + patience, signal, since }
    }
}

/// A started container.
pub struct Watch<'a> {
    /// Its first process, which passes signals on.
    pub init: Pid,
    /// What comes to this process.
    pub signals: &'a Signals,
    /// The streams.
    pub stdio: &'a mut Stdio,
    /// How long the command may take to end when it is asked to.
    pub patience: Duration,
    /// Why what it said, or was to read, is not whole.
    pub broken: Option<anyhow::Error>,
    /// Its first process has been waited for.
    pub has_ended: bool,
}

impl Watch<'_> {
    /// Wait until it has ended, or has been asked to for long enough; the exit status. Whatever is left is to be killed then.
    pub fn wait(&mut self) -> Result<i32> {
        let mut stop: Option<Stop> = None;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if let Some(due) = stop.as_ref().filter(|stop| stop.deadline <= Instant::now()) {
                return Ok(due.status);
            }
            self.sleep(stop.as_ref().map(|stop| stop.deadline.saturating_duration_since(Instant::now())))?;
            while let Some(signal) = self.signals.next()? {
                self.take(signal, &mut stop);
            }
            if self.is_unread()? {
                let unread = Stop::after(UNREAD.min(self.patience), 128 + libc::SIGPIPE, None);
                stop = Some(stop.filter(|stop| stop.deadline < unread.deadline).unwrap_or(unread));
            }
        }
    }

    /// After its group was killed: wait for its first process, and pass on what has been said and not read yet, unless somebody asks for
    /// the end once more.
    pub fn finish(&mut self) -> Result<()> {
        // Who was killed has been waited for long enough, and so has a reader that does not read.
        let until = (!self.has_ended).then(|| Instant::now() + UNREAD);
        if until.is_some() {
            drop(signals::send(self.init.as_raw(), libc::SIGKILL));
            let _ = self.wait_for_first(WaitOptions::empty());
        }
        let mut waited = false;
        while until.is_none_or(|until| Instant::now() < until) && !self.stdio.has_passed_on(waited) {
            waited = !self.sleep(Some(QUIET))?;
            while let Some(signal) = self.signals.next()? {
                if ENDING.contains(&signal) {
                    return Ok(());
                }
            }
            self.is_unread()?;
        }
        Ok(())
    }

    /// Wait for something to do; false when the time has passed.
    fn sleep(&self, at_most: Option<Duration>) -> Result<bool> {
        let mut polled = self.stdio.polled();
        polled.push(PollFd::new(&self.signals.queue, PollFlags::IN));
        let timeout =
            at_most.map(|time| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) });
        match poll(&mut polled, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(e) => Err(e).context("waiting for the container"),
        }
    }

    fn ended(&mut self) -> Result<Option<i32>> {
        let ended = self.wait_for_first(WaitOptions::NOHANG).context("waiting for the container")?;
        self.has_ended = ended.is_some();
        // Its first process tells the command's status by its own, and is ended by nobody who does not mean this.
        Ok(ended.map(|status| exit_status(status).filter(|_| status.exited()).unwrap_or(failure::OWN)))
    }

    fn wait_for_first(&self, options: WaitOptions) -> rustix::io::Result<Option<WaitStatus>> {
        let first = rustix::process::Pid::from_raw(self.init.as_raw());
        Ok(rustix::io::retry_on_intr(|| waitpid(first, options))?.map(|(_, status)| status))
    }

    fn take(&mut self, signal: i32, stop: &mut Option<Stop>) {
        match signal {
            libc::SIGCHLD => return,
            libc::SIGTSTP => {
                self.stdio.pause();
                // That it goes on again is a signal as well.
                drop(signals::send(std::process::id() as i32, libc::SIGSTOP));
                return;
            }
            libc::SIGCONT => self.stdio.resume(),
            // The program inside is told of it by its own terminal.
            libc::SIGWINCH if self.stdio.resize() => return,
            _ => {}
        }
        // One that has just ended needs none.
        drop(signals::send(self.init.as_raw(), signal));
        if !ENDING.contains(&signal) {
            return;
        }
        let is_repeated = |stop: &Stop| {
            let before = stop.signal.is_some_and(|before| IMPATIENT.contains(&before));
            before && IMPATIENT.contains(&signal) && stop.since.elapsed() >= TWICE
        };
        match stop {
            Some(stop) if is_repeated(stop) => stop.deadline = Instant::now(),
            // What asked for the end first has set the time, and the status.
            Some(Stop { signal: Some(first), .. }) if IMPATIENT.contains(first) || !IMPATIENT.contains(&signal) => {}
            _ => {
                let mut asked = Stop::after(self.patience, 128 + signal, Some(signal));
                asked.deadline = stop.as_ref().map_or(asked.deadline, |stop| stop.deadline.min(asked.deadline));
                *stop = Some(asked);
            }
        }
    }

    /// True when nobody reads, or can be handed, what the container says from here on.
    fn is_unread(&mut self) -> Result<bool> {
        match self.stdio.turn()? {
            None => Ok(false),
            Some(Unread::Gone) => Ok(true),
            Some(Unread::Broken(what, e)) => {
                let doing = if what == INPUT { "reading" } else { "writing the output of the command to" };
                self.broken.get_or_insert(anyhow::Error::new(e).context(format!("{doing} {what}")));
                Ok(what == OUTPUT)
            }
        }
    }
}
