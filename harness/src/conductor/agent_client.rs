//! The conductor's side of the conversation with an agent.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bench_agent::{Bytes, Greeting, Job, JobOutput, PROTOCOL_VERSION, Reply, Request, clock_ns, printable};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;

/// How long an agent may take for anything that is not a job.
const ANSWER: Duration = Duration::from_secs(30);
/// How much longer than the job's own deadline an answer may take: a guest that hangs never answers.
const GRACE: Duration = Duration::from_secs(30);

/// Longest frame that is not the end of a job: the agent's texts are 1 MiB at most, and a short list of JSON can take many times
/// its length in memory.
const ANSWER_LIMIT: usize = 8 << 20;
/// How every frame that is the end of a job begins.
const DONE: &[u8] = br#"{"done":"#;

/// A connected agent that has greeted. It may be in a guest that is hostile: whatever it says ends in an error at worst, within
/// the time of the question and a bounded amount of memory.
pub struct AgentClient {
    input: BufReader<Box<dyn AsyncRead + Unpin>>,
    output: Box<dyn AsyncWrite + Unpin>,
}

/// The agent's monotonic clock against ours.
#[derive(Debug, Clone, Copy)]
pub struct ClockComparison {
    /// The agent's clock minus ours, in nanoseconds, at the middle of the round trip.
    pub offset_ns: i64,
    /// How long the round trip took: the offset is uncertain by half of it.
    pub round_trip_ns: u64,
}

impl ClockComparison {
    /// How much the offset changed since an earlier comparison, in nanoseconds. A clock inside may say anything.
    pub fn drift_ns(&self, earlier: ClockComparison) -> i64 {
        self.offset_ns.wrapping_sub(earlier.offset_ns)
    }

    /// A time of the agent's clock on ours.
    pub fn ours_ns(&self, theirs_ns: u64) -> u64 {
        theirs_ns.saturating_add_signed(self.offset_ns.saturating_neg())
    }
}

impl AgentClient {
    /// Wait for the greeting and check that both speak the same protocol.
    pub async fn greet(
        input: impl AsyncRead + Unpin + 'static,
        output: impl AsyncWrite + Unpin + 'static,
        within: Duration,
    ) -> Result<(AgentClient, Greeting)> {
        let mut client = AgentClient { input: BufReader::new(Box::new(input)), output: Box::new(output) };
        match timeout(within, client.receive()).await {
            Ok(reply) => match reply? {
                Reply::Greeting(greeting) if greeting.protocol == PROTOCOL_VERSION => Ok((client, tame(&greeting))),
                Reply::Greeting(greeting) => {
                    bail!(
                        "the agent speaks protocol {}, this is {PROTOCOL_VERSION}: rebuild the image",
                        greeting.protocol
                    )
                }
                other => bail!("the agent said {} instead of a greeting", name(&other)),
            },
            Err(_) => bail!("the agent did not greet within {} s", within.as_secs()),
        }
    }

    /// Compare the clocks, best of a few round trips.
    pub async fn compare_clocks(&mut self) -> Result<ClockComparison> {
        let mut best: Option<ClockComparison> = None;
        for _ in 0..3 {
            let before = clock_ns();
            let Reply::Pong { clock_ns: theirs } = self.ask(&Request::Ping).await? else {
                bail!("the agent did not answer a ping");
            };
            let round_trip_ns = clock_ns() - before;
            let ours = (before + round_trip_ns / 2) as i64;
            if best.is_none_or(|best| round_trip_ns < best.round_trip_ns) {
                best = Some(ClockComparison { offset_ns: (theirs as i64).wrapping_sub(ours), round_trip_ns });
            }
        }
        best.context("no round trip was made")
    }

    /// SHA-256 of files as the environment sees them.
    pub async fn digests(&mut self, paths: Vec<String>) -> Result<Vec<Option<String>>> {
        match self.ask(&Request::Digest(paths)).await? {
            Reply::Digests(digests) => Ok(digests),
            other => bail!("the agent answered {} when asked for digests", name(&other)),
        }
    }

    /// Small text files as the environment sees them.
    pub async fn texts(&mut self, paths: Vec<String>) -> Result<Vec<Option<String>>> {
        match self.ask(&Request::Read(paths)).await? {
            Reply::Texts(texts) => Ok(texts),
            other => bail!("the agent answered {} when asked for files", name(&other)),
        }
    }

    /// Execute a job to its end.
    pub async fn execute(&mut self, job: &Job) -> Result<JobOutput> {
        self.send(&Request::Execute(job.clone())).await?;
        let within = match job.deadline_ns {
            0 => Duration::MAX,
            ns => Duration::from_nanos(ns) + GRACE,
        };
        match timeout(within, self.receive()).await {
            Err(_) => bail!("the agent did not answer within {} s of its job's deadline", GRACE.as_secs()),
            Ok(reply) => match reply? {
                Reply::Done(output) => {
                    let is_asked_for = |name| job.collect.contains(name);
                    ensure!(
                        output.files.iter().all(|file| is_asked_for(&file.name)),
                        "the agent sent a file that was not asked for"
                    );
                    Ok(*output)
                }
                Reply::Refused(why) => bail!("the agent could not execute the job: {}", plain(&why)),
                other => bail!("the agent answered {} when asked to execute a job", name(&other)),
            },
        }
    }

    /// Send a request without waiting for its answer.
    pub async fn send(&mut self, request: &Request) -> Result<()> {
        let frame = bench_agent::encode(request)?;
        let written = async {
            self.output.write_all(&frame).await?;
            self.output.flush().await
        };
        timeout(ANSWER, written).await.context("the agent does not read")?.context("writing to the agent")
    }

    /// The next reply, whenever it comes. Not safe to cancel in the middle of a frame: drop the client then.
    pub async fn receive(&mut self) -> Result<Reply> {
        let mut header = [0; 4];
        self.input.read_exact(&mut header).await.context("the agent went away")?;
        let length = bench_agent::decode_header(header)?;
        let mut body = vec![0; length];
        self.input.read_exact(&mut body).await.context("the agent went away in the middle of an answer")?;
        ensure!(
            length <= ANSWER_LIMIT || body.starts_with(DONE),
            "the agent sent {length} bytes that are not the end of a job; {ANSWER_LIMIT} are the limit"
        );
        serde_json::from_slice(&body).context("reading the agent's answer")
    }

    async fn ask(&mut self, request: &Request) -> Result<Reply> {
        self.send(request).await?;
        timeout(ANSWER, self.receive()).await.context("the agent does not answer")?
    }

    /// Wait until [`AgentClient::receive`] would not wait for the beginning of a frame. Safe to cancel.
    pub async fn readable(&mut self) -> Result<()> {
        self.input.fill_buf().await.context("the agent went away").map(drop)
    }
}

/// A word or two from inside.
fn plain(text: &str) -> String {
    printable(text, 400)
}

fn tame(greeting: &Greeting) -> Greeting {
    Greeting {
        kernel_release: plain(&greeting.kernel_release),
        hostname: plain(&greeting.hostname),
        clock_source: greeting.clock_source.as_deref().map(plain),
        warnings: greeting.warnings.iter().take(20).map(|warning| plain(warning)).collect(),
        ..*greeting
    }
}

/// What a reply is, for error messages; never its content, which may be hostile.
fn name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Greeting(_) => "a greeting",
        Reply::Pong { .. } => "a pong",
        Reply::Digests(_) => "digests",
        Reply::Texts(_) => "texts",
        Reply::Stdout(Bytes(_)) | Reply::Stderr(Bytes(_)) => "output",
        Reply::Done(_) => "a job's end",
        Reply::Refused(_) => "a refusal",
    }
}
