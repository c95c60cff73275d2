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
fn window() -> Window {
    tcgetwinsize(stdout()).map_or_else(|_| Window::default(), |size| Window { rows: size.ws_row, columns: size.ws_col })
}

/// The terminal in raw mode. Dropping it gives the terminal back as it was.
pub struct RawTerminal {
    before: Termios,
    resized: Signal,
    continued: Signal,
}

impl RawTerminal {
    /// From now on.
    pub fn enter() -> Result<RawTerminal> {
        let before = tcgetattr(stdin()).context("asking how the terminal is set")?;
        let resized = signal(SignalKind::window_change()).context("listening for SIGWINCH")?;
        let continued = SignalKind::from_raw(nix::sys::signal::Signal::SIGCONT as i32);
        let continued = signal(continued).context("listening for SIGCONT")?;
        let terminal = RawTerminal { before, resized, continued };
        terminal.set().context("setting the terminal to raw mode")?;
        Ok(terminal)
    }

    fn set(&self) -> std::io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        Ok(tcsetattr(stdin(), OptionalActions::Now, &raw)?)
    }

    /// Wait until its size may be another; what it is then. A shell that lets this process go on has set its own modes meanwhile.
    pub async fn resized(&mut self) -> Window {
        tokio::select! {
            _ = self.resized.recv() => {}
            _ = self.continued.recv() => drop(self.set()),
        }
        window()
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
