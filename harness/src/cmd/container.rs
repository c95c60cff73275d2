//! `bench container run -- CMD`: a command in our own container. Plain blocking code: no thread, no runtime.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bench_container::{Bind, Cgroup, IoLimit, Limits, Namespace, Root, Spec, Starter, UserMap};
use bench_results::quantity::{parse_count, parse_duration, parse_size};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::failure::{self, need_root};
use crate::host::cpus;
use crate::ledger::{Change, ChangeId, Ledger};
use crate::netlab::{self, Lab, Route, User};
use crate::{paths, tools};

/// Ids of a user namespace on the host: where distributions begin those of containers.
const SHIFTED: UserMap = UserMap { first: 100_000, count: 65_536 };

/// Where iperf3 listens unless it is told another port (iperf3(1)).
const IPERF3_PORT: u16 = 5201;

/// Arguments of `bench container run`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Another root than the tools tree: a distribution's files on the same kernel
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// The network: nothing but a loopback device, the host's, or a lab of its own with a peer to talk to
    #[arg(long, value_enum, default_value = "none")]
    net: Network,
    /// CPU time per time: 1.5 is one and a half CPUs
    #[arg(long, value_name = "NUMBER", value_parser = cpu_time, allow_hyphen_values = true)]
    cpus: Option<f64>,
    /// CPUs that it may use, such as 0-1,4
    #[arg(long, value_name = "LIST")]
    cpuset: Option<String>,
    /// Memory, such as 256MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_hyphen_values = true)]
    memory: Option<u64>,
    /// Processes and threads
    #[arg(long, value_name = "N", value_parser = count, allow_hyphen_values = true)]
    pids: Option<u64>,
    /// Reads per second from a block device
    #[arg(long, value_name = "DEVICE:N")]
    io_read_iops: Vec<String>,
    /// Writes per second to a block device
    #[arg(long, value_name = "DEVICE:N")]
    io_write_iops: Vec<String>,
    /// Bytes read per second from a block device
    #[arg(long, value_name = "DEVICE:SIZE")]
    io_read_bps: Vec<String>,
    /// Bytes written per second to a block device
    #[arg(long, value_name = "DEVICE:SIZE")]
    io_write_bps: Vec<String>,
    /// Host name inside
    #[arg(long, value_name = "NAME", default_value = "container")]
    hostname: String,
    /// A time namespace whose clocks of boot and monotonic time are ahead by this, such as 1d
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    time_offset: Option<f64>,
    /// A user namespace: root inside is nobody outside
    #[arg(long)]
    userns: bool,
    /// A process 1 that reaps orphans and passes signals on
    #[arg(long)]
    init: bool,
    /// A file or folder of the host to be seen inside
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]")]
    volume: Vec<String>,
    /// A variable of the environment
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// A capability besides the default ones, such as NET_RAW
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Say CMD's process id on the host, its namespaces and its cgroup
    #[arg(long)]
    verbose: bool,
    /// The command
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Network {
    /// A network namespace of its own, with a loopback device
    None,
    /// The host's
    Host,
    /// A lab with a peer, over a bridge
    Bridge,
    /// A lab with a peer, behind NAT
    Nat,
}

impl Network {
    fn route(self) -> Option<Route> {
        match self {
            Network::None | Network::Host => None,
            Network::Bridge => Some(Route::Bridge),
            Network::Nat => Some(Route::Nat),
        }
    }
}

fn cpu_time(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cpus) if (0.01..=4096.0).contains(&cpus) => Ok(cpus),
        _ if text.trim().ends_with('%') => {
            Err(format!("`{text}` could be a share of one CPU or of all: write a number of CPUs, such as 0.5 or 1.5"))
        }
        _ => Err(format!("`{text}` is not a number of CPUs from 0.01 up, such as 1.5")),
    }
}

fn count(text: &str) -> Result<u64, String> {
    parse_count(text, u64::MAX)
}

/// Start it, wait for it, and leave nothing; its exit status. `starter` has begun already, if there is one.
pub fn run(args: &RunArgs, starter: Option<Starter>) -> Result<i32> {
    need_root("bench container run", "it makes namespaces, mounts and a cgroup")?;
    // Blocked before anything exists that must be undone; the program starts with none blocked.
    let signals = watched();
    signals.thread_block().context("blocking signals")?;
    let starter = starter.map_or_else(Starter::begin, Ok).context("starting the container's first process")?;
    let limits = limits(args)?;
    let mut spec = spec(args)?;
    if args.rootfs.is_some() && !args.userns {
        eprintln!(
            "bench: without --userns, root in this root folder is the host's root: be sure that you trust its maker"
        );
    }
    let ledger = Ledger::open(&paths::state_dir())?;
    let name = format!("bench-container-{}", ledger.name());
    let change = ledger.record(Change::Cgroup { paths: Cgroup::plan(&name)? })?;
    let cgroup = Cgroup::create(&name, &limits)?;
    spec.join(&cgroup);
    // Held until the container has ended.
    let lab = match args.net.route() {
        Some(route) => Some(Lab::make(route, User::Container)?),
        None => None,
    };
    spec.network = lab.as_ref().map(Lab::work);
    let peer = lab.as_ref().map(|lab| start_peer(lab, &ledger, limits.cpus.as_deref())).transpose()?;
    let init = starter.start(&spec).context("starting the container")?;
    let status = wait(init, &signals)?;
    if cgroup.oom_kills().is_ok_and(|kills| kills > 0) {
        eprintln!("bench: the memory limit was met and a process was killed");
    }
    ledger.undo(change)?;
    if let Some(peer) = peer {
        ledger.undo(peer)?;
    }
    Ok(status)
}

/// The other machine of the lab, with something that answers; it ends with its cgroup.
fn start_peer(lab: &Lab, ledger: &Ledger, cpuset: Option<&str>) -> Result<ChangeId> {
    let name = format!("bench-container-{}-peer", ledger.name());
    let change = ledger.record(Change::Cgroup { paths: Cgroup::plan(&name)? })?;
    // Where another group has CPUs for itself, only the CPUs that are asked for can be had.
    let cpus = Limits { cpus: cpuset.map(str::to_owned), ..Limits::default() };
    let cgroup = Cgroup::create(&name, &Limits::default())
        .or_else(|e| if cpus.cpus.is_some() { Cgroup::create(&name, &cpus) } else { Err(e) })?;
    let mut spec =
        Spec { argv: netlab::peer_server()?, network: Some(lab.peer()), parent_death_signal: true, ..Spec::default() };
    spec.join(&cgroup);
    let mut command = bench_container::command(&spec).context("preparing the peer")?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    wait_for_server(command.spawn().context("starting the peer")?.id());
    eprintln!("{}", netlab::peer_hint());
    Ok(change)
}

/// Until the peer's iperf3 listens: the container may be faster. Two seconds at most.
fn wait_for_server(peer: u32) {
    for _ in 0..2000 {
        if netlab::is_listening(peer, IPERF3_PORT).unwrap_or(false) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn watched() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT].into_iter().collect()
}

/// Wait for the end. The terminal's signals reach the command without us; to be told to end ends the container.
fn wait(init: Pid, signals: &SigSet) -> Result<i32> {
    loop {
        match waitpid(init, Some(WaitPidFlag::WNOHANG)).context("waiting for the container")? {
            WaitStatus::Exited(_, status) => return Ok(status),
            WaitStatus::Signaled(..) => return Ok(failure::OWN),
            _ => {}
        }
        let signal = signals.wait().context("waiting for a signal")?;
        if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
            // What is in the cgroup goes with the ledger.
            return Ok(128 + signal as i32);
        }
    }
}

fn spec(args: &RunArgs) -> Result<Spec> {
    let mut namespaces: std::collections::BTreeSet<_> = Namespace::DOCKER.into();
    // A lab's namespace is entered, not made.
    if args.net != Network::None {
        namespaces.remove(&Namespace::Net);
    }
    if args.userns {
        namespaces.insert(Namespace::User);
    }
    if args.time_offset.is_some() {
        namespaces.insert(Namespace::Time);
    }
    let tree = match &args.rootfs {
        Some(folder) => {
            let doing = || format!("--rootfs {}", folder.display());
            let folder = std::fs::canonicalize(folder).with_context(doing)?;
            ensure!(folder.is_dir(), "{}: it is not a folder", doing());
            folder
        }
        None => tools::tree()?,
    };
    let binds = args.volume.iter().map(|volume| bind(volume)).collect::<Result<_>>()?;
    Ok(Spec {
        argv: args.command.clone(),
        env: environment(args)?,
        cwd: Some(args.workdir.clone().unwrap_or_else(|| "/".to_owned())),
        namespaces,
        root: Some(Root { tree, binds }),
        work: None,
        capabilities: capabilities(args),
        hostname: Some(args.hostname.clone()),
        time_offset_s: args.time_offset.unwrap_or(0.0).round() as i64,
        user_map: args.userns.then_some(SHIFTED),
        cgroup: Vec::new(),
        any_cpu: false,
        network: None,
        parent_death_signal: true,
        reaper: args.init,
        announce: args.verbose,
    })
}

/// In a lab, which is nobody else's, busybox's ping works.
fn capabilities(args: &RunArgs) -> Vec<String> {
    let of_labs = args.net.route().map(|_| "NET_RAW".to_owned());
    args.cap_add.iter().cloned().chain(of_labs).collect()
}

fn environment(args: &RunArgs) -> Result<Vec<(String, String)>> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut env = vec![("PATH", path.to_owned()), ("HOME", "/".to_owned()), ("HOSTNAME", args.hostname.clone())];
    if let Ok(term) = std::env::var("TERM") {
        env.push(("TERM", term));
    }
    let mut env: Vec<_> = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for pair in &args.env {
        let (name, value) = pair.split_once('=').with_context(|| format!("-e {pair}: it is not KEY=VALUE"))?;
        env.retain(|(known, _)| known != name);
        env.push((name.to_owned(), value.to_owned()));
    }
    Ok(env)
}

fn bind(volume: &str) -> Result<Bind> {
    let parts: Vec<_> = volume.split(':').collect();
    let (source, target, read_only) = match parts[..] {
        [source, target] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        _ => bail!("-v {volume}: it is not SRC:DST or SRC:DST:ro"),
    };
    let target = PathBuf::from(target);
    ensure!(target.is_absolute() && target != Path::new("/"), "-v {volume}: DST must be an absolute path, and not /");
    let source = std::fs::canonicalize(source).with_context(|| format!("-v {volume}: finding {source}"))?;
    Ok(Bind { source, target, read_only })
}

fn limits(args: &RunArgs) -> Result<Limits> {
    let cpus = args.cpuset.as_deref().map(cpus::parse).transpose().context("--cpuset")?;
    let mut io = Vec::new();
    throttle(&mut io, &args.io_read_iops, count, |limit, value| limit.read_iops = Some(value))?;
    throttle(&mut io, &args.io_write_iops, count, |limit, value| limit.write_iops = Some(value))?;
    throttle(&mut io, &args.io_read_bps, parse_size, |limit, value| limit.read_bytes_per_s = Some(value))?;
    throttle(&mut io, &args.io_write_bps, parse_size, |limit, value| limit.write_bytes_per_s = Some(value))?;
    let cpus = cpus.map(|cpus| cpus::format(&cpus));
    Ok(Limits { cpus, cpu_quota: args.cpus, memory_bytes: args.memory, pids: args.pids, io })
}

/// `/dev/vda:1000` to the limit of that device.
fn throttle(
    limits: &mut Vec<IoLimit>,
    wishes: &[String],
    parse: impl Fn(&str) -> Result<u64, String>,
    set: impl Fn(&mut IoLimit, u64),
) -> Result<()> {
    for wish in wishes {
        let (device, value) =
            wish.rsplit_once(':').with_context(|| format!("`{wish}` is not DEVICE:VALUE, as in /dev/vda:1000"))?;
        let value = parse(value).map_err(anyhow::Error::msg).with_context(|| format!("throttling {device}"))?;
        let number = std::fs::metadata(device).with_context(|| format!("throttling {device}"))?.rdev();
        ensure!(number != 0, "throttling {device}: it is not a device");
        let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
        let index = limits.iter().position(|limit| (limit.major, limit.minor) == (major, minor)).unwrap_or_else(|| {
            limits.push(IoLimit { major, minor, ..IoLimit::default() });
            limits.len() - 1
        });
        set(&mut limits[index], value);
    }
    Ok(())
}
