//! Ctrl-C, a request to end, and a terminal that goes away: once stops in order, twice at once.

use anyhow::{Context, Result};
use bench_container::signals::is_ignored;
use nix::sys::signal::{SigHandler, Signal, signal};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal as listen};

/// SIGINT, SIGTERM and SIGHUP, from when it was made.
pub struct Interrupts {
    interrupt: Stream,
    terminate: Stream,
    /// Absent under `nohup`.
    hangup: Option<Stream>,
}

impl Interrupts {
    /// Listen from now on; what comes before somebody waits is not lost.
    pub fn listen() -> Result<Interrupts> {
        Ok(Interrupts {
            interrupt: listen(SignalKind::interrupt()).context("listening for SIGINT")?,
            terminate: listen(SignalKind::terminate()).context("listening for SIGTERM")?,
            hangup: if is_ignored(Signal::SIGHUP as i32).context("asking whether a signal is ignored")? {
                None
            } else {
                Some(listen(SignalKind::hangup()).context("listening for SIGHUP")?)
            },
        })
    }

    /// Wait for one of them. From then on a second one ends the process at once (`bench clean` undoes what is left).
    pub async fn next(&mut self) -> Result<()> {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
        for which in [Signal::SIGINT, Signal::SIGTERM] {
            // SAFETY: the default action runs no code of ours, so nothing can be called in a state it does not expect.
            unsafe { signal(which, SigHandler::SigDfl) }.context("giving the signal its default action back")?;
        }
        Ok(())
    }
}
