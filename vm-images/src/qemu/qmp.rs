//! A small client of QEMU's machine protocol (qmp-spec).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long QEMU may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest line that is read: QEMU is trusted, what runs in it is not.
const LINE: u64 = 1 << 20;

/// QEMU did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket failed.
    #[error("speaking to QEMU")]
    Io(#[from] std::io::Error),
    /// It ended, or closed the socket.
    #[error("QEMU closed its control socket")]
    Closed,
    /// No answer in time.
    #[error("QEMU did not answer `{0}` within 30 s")]
    Silent(String),
    /// It answered with an error.
    #[error("QEMU refused `{command}`: {reason}")]
    Refused {
        /// What was asked.
        command: String,
        /// Its words.
        reason: String,
    },
    /// It answered something else.
    #[error("QEMU answered `{command}` in another form than expected")]
    Form {
        /// What was asked.
        command: String,
    },
}

/// A connection.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
    next: u64,
}

impl Qmp {
    /// Take part in the greeting.
    pub async fn connect(stream: UnixStream) -> Result<Qmp, QmpError> {
        let mut qmp = Qmp { stream: BufReader::new(stream), next: 0 };
        let greeting = timeout(ANSWER, qmp.line()).await.map_err(|_| QmpError::Silent("greeting".into()))??;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Form { command: "greeting".into() });
        }
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Execute a command; its answer. Events that come in between are passed over.
    pub async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        self.next += 1;
        let id = self.next;
        let mut text = json!({"execute": command, "arguments": arguments, "id": id}).to_string();
        text.push('\n');
        self.stream.get_mut().write_all(text.as_bytes()).await?;
        let answer = async {
            loop {
                let line = self.line().await?;
                if line.get("id").and_then(Value::as_u64) == Some(id) {
                    return Ok::<_, QmpError>(line);
                }
            }
        };
        let mut answer = timeout(ANSWER, answer).await.map_err(|_| QmpError::Silent(command.to_owned()))??;
        if let Some(error) = answer.get("error") {
            let reason = error.get("desc").and_then(Value::as_str).unwrap_or("it gave no reason").to_owned();
            return Err(QmpError::Refused { command: command.to_owned(), reason });
        }
        Ok(answer["return"].take())
    }

    async fn line(&mut self) -> Result<Value, QmpError> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(QmpError::Closed);
        }
        serde_json::from_slice(&line).map_err(|_| QmpError::Form { command: "a line".into() })
    }

    /// The virtual CPUs and the host's threads that are them.
    pub async fn vcpu_threads(&mut self) -> Result<Vec<(usize, i32)>, QmpError> {
        let answer = self.execute("query-cpus-fast", json!({})).await?;
        let pair =
            |cpu: &Value| Some((cpu.get("cpu-index")?.as_u64()? as usize, cpu.get("thread-id")?.as_i64()? as i32));
        let pairs: Option<Vec<_>> = answer.as_array().and_then(|cpus| cpus.iter().map(pair).collect());
        pairs.ok_or_else(|| QmpError::Form { command: "query-cpus-fast".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(lines: &'static str) -> Result<Value, QmpError> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (read, mut write) = theirs.into_split();
        write.write_all(lines.as_bytes()).await.unwrap();
        drop(write);
        let mut qmp = Qmp::connect(ours).await?;
        let answer = qmp.execute("query-status", json!({})).await;
        drop(read);
        answer
    }

    fn run(lines: &'static str) -> Result<Value, QmpError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(answered(lines))
    }

    #[test]
    fn events_in_between_are_passed_over() {
        let lines = "{\"QMP\": {\"version\": {}}}\n{\"return\": {}, \"id\": 1}\n\
            {\"event\": \"RESUME\", \"timestamp\": {}}\n{\"return\": {\"status\": \"running\"}, \"id\": 2}\n";
        assert_eq!(run(lines).unwrap()["status"], "running");
    }

    #[test]
    fn refusals_and_ends_are_errors() {
        let refused =
            "{\"QMP\": {}}\n{\"return\": {}, \"id\": 1}\n{\"error\": {\"desc\": \"no such thing\"}, \"id\": 2}\n";
        assert!(run(refused).unwrap_err().to_string().contains("no such thing"));
        assert!(matches!(run("{\"QMP\": {}}\n{\"return\": {}, \"id\": 1}\n"), Err(QmpError::Closed)));
        assert!(matches!(run("hello\n"), Err(QmpError::Form { .. })));
        assert!(matches!(run(""), Err(QmpError::Closed)));
    }
}
