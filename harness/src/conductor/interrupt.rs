//! Ctrl-C, a request to end, and a terminal that goes away: once stops in order, twice at once.

use anyhow::{Context, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};
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
            hangup: if is_ignored(Signal::SIGHUP)? {
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

/// True where whoever started this process had it ignore a signal.
fn is_ignored(which: Signal) -> Result<bool> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours, and the one before is put back at once.
    let before = unsafe { sigaction(which, &default) }.context("asking whether a signal is ignored")?;
    // SAFETY: it is the one that the process was started with, or one of tokio's, which are safe at any time.
    unsafe { sigaction(which, &before) }.context("putting the action of a signal back")?;
    Ok(matches!(before.handler(), SigHandler::SigIgn))
}
