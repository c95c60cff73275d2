//! `bench vm run -- CMD`: a command in the guest that `bench run` measures in, on a terminal where the user has one.

use std::cell::Cell;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use bench_agent::{Bytes, Job, JobStatus, Reply, Request, Streams};
use bench_vm::Check;
use bench_workloads::{EnvironmentDefinition, parse_size};
use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;

use crate::caller::Hands;
use crate::conductor::environment::Environment;
use crate::conductor::instance::{Instance, Setting};
use crate::conductor::interrupt::Interrupts;
use crate::environments::{self, Shared};
use crate::failure::{self, need_root};
use crate::host::cpus;
use crate::ledger::Ledger;
use crate::terminal::{self, RawTerminal};
use crate::{netlab, output, paths, tools};

/// Arguments of `bench vm run`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Options of the guest as in `--env`: accel=kvm:kernel=FILE
    #[arg(long, value_name = "KEY=VALUE[:...]")]
    options: Option<String>,
    /// CPUs of the host for the guest, which has as many virtual CPUs
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// Its RAM
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_hyphen_values = true, default_value = "1GiB")]
    memory: u64,
    /// An environment variable of the command
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// A file of the host to copy inside, with the libraries it needs
    #[arg(long = "with", value_name = "PATH")]
    with: Vec<std::path::PathBuf>,
    /// Print the boot time and the accelerator
    #[arg(long)]
    verbose: bool,
    /// The command
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Boot, execute, power off; the command's exit status.
pub fn run(args: &RunArgs) -> Result<i32> {
    need_root("bench vm run", "the guest gets a cgroup of its own")?;
    let definition = match &args.options {
        Some(options) => format!("vm:{options}"),
        None => "vm".to_owned(),
    };
    let definition = environments::read(&definition)?;
    let (cpus, peer_cpus) = cpus::choose(args.cpus.as_deref(), false)?;
    let setting = Setting {
        cpus,
        peer_cpus,
        memory_bytes: args.memory,
        tree: tools::build(&super::image::absolute(&args.with)?, &[], Check::Sources)?,
        target: None,
        work: None,
        executable: tools::executable()?,
        ledger: Ledger::open(&paths::state_dir()?)?,
        hands: Hands::of(None),
        started: Cell::new(0),
        filled: Cell::new(false),
        shared: Shared::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let done = tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut interrupts = Interrupts::listen()?;
        tokio::select! {
            done = execute(args, &definition, &setting) => done,
            interrupted = interrupts.next() => interrupted.map(|()| failure::INTERRUPTED),
        }
    });
    // A thread that waits for the terminal would keep the runtime.
    runtime.shutdown_background();
    done
}

async fn execute(args: &RunArgs, definition: &EnvironmentDefinition, setting: &Setting) -> Result<i32> {
    let environment = Environment::prepare(definition, false, setting).await?;
    let mut instance = Instance::start(&environment, setting).await?;
    instance.resume().await?;
    if args.verbose {
        let took_ms = instance.facts.start_to_ready_ns.unwrap_or(0) / 1_000_000;
        let note = environment.prepared.accelerator_note.as_deref().unwrap_or("KVM");
        eprintln!("bench: the guest was ready after {took_ms} ms ({note})");
    }
    if let Some(network) = &mut instance.network {
        network.peer.launch(netlab::peer_server()?).await?;
        eprintln!("{}", netlab::peer_hint());
    }
    match converse(job(args, &environment)?, &mut instance).await {
        Ok(Ended::Command(status)) => {
            instance.stop().await?;
            Ok(exit_code(&status))
        }
        // As a command ends whose reader went away; the guest ends with its cgroup.
        Ok(Ended::Unread(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(128 + Signal::SIGPIPE as i32),
        Ok(Ended::Unread(e)) => Err(e).context("writing the output of the command"),
        Err(e) => Err(instance.explain(e).await),
    }
}

fn job(args: &RunArgs, environment: &Environment) -> Result<Job> {
    let streams = terminal::streams();
    let mut env = vec![("PATH".to_owned(), environment.place.path_env.clone()), ("HOME".to_owned(), "/".to_owned())];
    // Which keys and colours there are; of use only on a terminal.
    let term = std::env::var("TERM").ok().filter(|_| streams != Streams::Forward);
    env.extend(term.map(|term| ("TERM".to_owned(), term)));
    for pair in &args.env {
        let (name, value) = pair.split_once('=').with_context(|| format!("--env {pair}: it is not KEY=VALUE"))?;
        env.push((name.to_owned(), value.to_owned()));
    }
    let cwd = Some(args.workdir.clone().unwrap_or_else(|| "/".to_owned()));
    Ok(Job { argv: args.command.clone(), env, cwd, streams, ..Job::default() })
}

/// How a conversation ended.
enum Ended {
    /// The command did.
    Command(JobStatus),
    /// What it said can not be passed on any more.
    Unread(std::io::Error),
}

/// Start the command and forward its streams until it ends; the user's terminal, if it is one, is only raw meanwhile.
async fn converse(job: Job, instance: &mut Instance<'_>) -> Result<Ended> {
    let mut terminal = match job.streams {
        Streams::Terminal { .. } => Some(RawTerminal::enter()?),
        Streams::Capture | Streams::Forward => None,
    };
    instance.agent.send(&Request::Execute(job)).await?;
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 32 * 1024];
    let mut open = true;
    loop {
        let resized = async {
            match &mut terminal {
                Some(terminal) => terminal.resized().await,
                None => std::future::pending().await,
            }
        };
        // `receive` must not be dropped in the middle of a frame, so that all else is only looked for between frames. In no fixed
        // order: Ctrl-C must reach a command that prints without end.
        tokio::select! {
            ready = instance.agent.readable() => {
                ready?;
                let written = match instance.agent.receive().await? {
                    Reply::Stdout(Bytes(bytes)) => output::write_to(std::io::stdout(), &bytes),
                    Reply::Stderr(Bytes(bytes)) => output::write_to(std::io::stderr(), &bytes),
                    Reply::Done(output) => return Ok(Ended::Command(output.status)),
                    Reply::Refused(why) => anyhow::bail!("the guest's agent refused the command: {why}"),
                    _ => anyhow::bail!("the guest's agent sent an unexpected answer"),
                };
                if let Err(e) = written {
                    return Ok(Ended::Unread(e));
                }
            }
            read = stdin.read(&mut buffer), if open => {
                let read = read.unwrap_or(0);
                open = read > 0;
                let request = if open { Request::Stdin(Bytes(buffer[..read].to_vec())) } else { Request::StdinEnd };
                instance.agent.send(&request).await?;
            }
            window = resized => instance.agent.send(&Request::Resize(window)).await?,
        }
    }
}

/// As docker has it: the status, 128+n for a signal, 126 not executable, 127 not found.
fn exit_code(status: &JobStatus) -> i32 {
    match status {
        JobStatus::Exited(code) => *code,
        JobStatus::Signaled(signal) => 128 + signal,
        JobStatus::DeadlinePassed => failure::OWN,
        JobStatus::NotStarted { errno, what } => {
            eprintln!("bench: {what}");
            if *errno == nix::errno::Errno::ENOENT as i32 { 127 } else { 126 }
        }
    }
}
