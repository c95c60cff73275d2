//! The user's terminal while a program inside has one of its own: every key goes there, and comes to nothing here.

use std::io::{IsTerminal, stderr, stdin, stdout};

use anyhow::{Context, Result};
use bench_agent::{Streams, Window};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How the streams of a program inside are to be: a terminal where the user has one to type on and to read from. Pipes stay pipes.
pub fn streams() -> Streams {
    match stdin().is_terminal() && stdout().is_terminal() {
        true => Streams::Terminal { window: window(), stderr_apart: !stderr().is_terminal() },
        false => Streams::Forward,
    }
}

/// Its size now.
pub fn window() -> Window {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin()));
    size.map_or_else(|_| Window::default(), |size| Window { rows: size.ws_row, columns: size.ws_col })
}

/// The terminal in raw mode. Dropping it gives the terminal back as it was.
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// From now on.
    pub fn enter() -> Result<RawMode> {
        let mode = RawMode { before: tcgetattr(stdin()).context("asking how the terminal is set")? };
        mode.set().context("setting the terminal to raw mode")?;
        Ok(mode)
    }

    /// Once more: a shell that lets this process go on has set its own modes meanwhile.
    pub fn set(&self) -> std::io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        Ok(tcsetattr(stdin(), OptionalActions::Now, &raw)?)
    }

    /// Give it back for a while.
    pub fn give_back(&self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The terminal in raw mode, and what happens to it.
pub struct RawTerminal {
    mode: RawMode,
    resized: Signal,
    continued: Signal,
}

impl RawTerminal {
    /// From now on.
    pub fn enter() -> Result<RawTerminal> {
        let resized = signal(SignalKind::window_change()).context("listening for SIGWINCH")?;
        let continued = SignalKind::from_raw(nix::sys::signal::Signal::SIGCONT as i32);
        let continued = signal(continued).context("listening for SIGCONT")?;
        Ok(RawTerminal { mode: RawMode::enter()?, resized, continued })
    }

    /// Wait until its size may be another; what it is then.
    pub async fn resized(&mut self) -> Window {
        tokio::select! {
            _ = self.resized.recv() => {}
            _ = self.continued.recv() => drop(self.mode.set()),
        }
        window()
    }
}
