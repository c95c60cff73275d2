//! A guest that boots, and what is wrong with one that does not.

use std::future::Future;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::qemu::Sockets;
use crate::qmp::{Qmp, QmpError};

/// A guest did not come up.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// QEMU itself ended.
    #[error("QEMU ended ({status}): {said}")]
    QemuExited {
        /// How.
        status: String,
        /// Its last words.
        said: String,
    },
    /// The guest's kernel gave up.
    #[error("the guest's kernel panicked: {console}")]
    GuestPanicked {
        /// The lines of its console that say so.
        console: String,
    },
    /// Nothing was heard of it in time.
    #[error("the guest did not come up within {seconds} s{}", after_words(.console))]
    NeverCameUp {
        /// How long it was waited for.
        seconds: u64,
        /// The end of its console.
        console: String,
    },
    /// Its control socket failed.
    #[error("taking control of QEMU")]
    Qmp(#[from] QmpError),
}

fn after_words(console: &str) -> String {
    if console.is_empty() {
        "; its console is empty".to_owned()
    } else {
        format!("; the end of its console: {console}")
    }
}

impl BootError {
    /// What console and log tell of a guest that did not come up.
    pub fn diagnose(sockets: &Sockets, status: Option<ExitStatus>, waited: Duration) -> BootError {
        let console = tail(&sockets.console, 6);
        let whole = std::fs::read(&sockets.console).unwrap_or_default();
        let panicked = String::from_utf8_lossy(&whole).contains("Kernel panic");
        match status {
            _ if panicked => {
                BootError::GuestPanicked { console: lines_about(&whole, &["Kernel panic", "bench: guest"]) }
            }
            Some(status) => {
                let said = [tail(&sockets.log, 3), console].into_iter().find(|text| !text.is_empty());
                BootError::QemuExited {
                    status: status.to_string(),
                    said: said.unwrap_or_else(|| "it said nothing".into()),
                }
            }
            None => BootError::NeverCameUp { seconds: waited.as_secs(), console },
        }
    }
}

/// The lines of a log that hold one of these words.
fn lines_about(log: &[u8], words: &[&str]) -> String {
    let text = String::from_utf8_lossy(log);
    let found = text.lines().filter(|line| words.iter().any(|word| line.contains(word))).map(str::trim);
    found.take(6).collect::<Vec<_>>().join(" | ")
}

/// The last lines of a log.
fn tail(path: &Path, count: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let printable = |c: &char| !c.is_control() || *c == '\n';
    let text: String = text.chars().filter(printable).collect();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}

/// How long a QEMU that closed its socket may take to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The control of a running guest.
#[derive(Debug)]
pub struct Guest {
    qmp: Qmp,
    paused: bool,
}

impl Guest {
    /// Connect to QEMU and to the agent's port. `exited` completes when QEMU ends.
    pub async fn connect(
        sockets: &Sockets,
        within: Duration,
        exited: impl Future<Output = std::io::Result<ExitStatus>>,
    ) -> Result<(Guest, UnixStream), BootError> {
        let connected = async {
            let qmp = Qmp::connect(connect(&sockets.qmp).await).await?;
            Ok::<_, QmpError>((qmp, connect(&sockets.agent).await))
        };
        tokio::pin!(exited);
        let connected = tokio::select! {
            connected = timeout(within, connected) => connected,
            status = &mut exited => return Err(BootError::diagnose(sockets, status.ok(), within)),
        };
        match connected {
            Ok(Ok((qmp, agent))) => Ok((Guest { qmp, paused: false }, agent)),
            // A QEMU that gives up closes its socket a moment before it ends.
            Ok(Err(error)) => match timeout(LAST_WORDS, exited).await {
                Ok(status) => Err(BootError::diagnose(sockets, status.ok(), within)),
                Err(_) => Err(error.into()),
            },
            Err(_) => Err(BootError::diagnose(sockets, None, within)),
        }
    }

    /// QEMU's control.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Stop its virtual CPUs: it costs nothing while it waits.
    pub async fn pause(&mut self) -> Result<(), QmpError> {
        if !self.paused {
            self.qmp.execute("stop", json!({})).await?;
            self.paused = true;
        }
        Ok(())
    }

    /// Let it go on.
    pub async fn resume(&mut self) -> Result<(), QmpError> {
        if self.paused {
            self.qmp.execute("cont", json!({})).await?;
            self.paused = false;
        }
        Ok(())
    }

    /// The block nodes as QEMU sees them: cache and aio that are in force.
    pub async fn block_nodes(&mut self) -> Result<Value, QmpError> {
        self.qmp.execute("query-named-block-nodes", json!({"flat": true})).await
    }

    /// What QEMU moved for the guest's disks so far.
    pub async fn block_stats(&mut self) -> Result<Value, QmpError> {
        self.qmp.execute("query-blockstats", json!({})).await
    }
}

/// Connect as soon as the socket is there.
async fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    }
}
