//! Ctrl-C: once stops in order, twice at once.

use anyhow::{Context, Result};
use nix::sys::signal::{SigHandler, Signal, signal};
use tokio::signal::unix::{SignalKind, signal as listen};

/// Wait for SIGINT or SIGTERM. From then on a second one ends the process at once (`bench clean` undoes what is left).
pub async fn interrupted() -> Result<()> {
    let mut interrupt = listen(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = listen(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    for which in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the default action runs no code of ours, so nothing can be called in a state it does not expect.
        unsafe { signal(which, SigHandler::SigDfl) }.context("giving the signal its default action back")?;
    }
    Ok(())
}
