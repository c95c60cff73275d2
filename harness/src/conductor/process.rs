//! The first process of an instance, and what it says on its standard output where that is kept.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
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
    child: Child,
    console: Option<JoinHandle<()>>,
}

impl From<Child> for Process {
    fn from(child: Child) -> Process {
        Process { child, console: None }
    }
}

impl Process {
    /// Keep the end of what it says, which is piped, in this file.
    pub fn keeping_console(mut child: Child, file: &Path) -> Result<Process> {
        let output = child.stdout.take().context("the process has no standard output to keep")?;
        let file = File::create(file).with_context(|| format!("creating {}", file.display()))?;
        let console = tokio::task::spawn_local(async move { drop(keep(output, file).await) });
        Ok(Process { child, console: Some(console) })
    }

    /// Its id, until it was waited for.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Wait for its end, and until its last words are written down.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        if let Some(console) = self.console.take() {
            drop(timeout(LAST_WORDS, console).await);
        }
        status
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

    #[tokio::test(flavor = "current_thread")]
    async fn a_console_without_end_keeps_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = [vec![b'x'; 5 * CONSOLE_LIMIT], b"last words".to_vec()].concat();
        keep(&text[..], file.reopen().unwrap()).await.unwrap();
        let kept = std::fs::read(file.path()).unwrap();
        assert!(kept.len() <= CONSOLE_LIMIT && kept.ends_with(b"last words"), "{}", kept.len());
    }
}
