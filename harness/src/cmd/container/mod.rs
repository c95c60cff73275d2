//! `bench container run -- CMD`: a command in our own container. Plain blocking code: no runtime, and no thread before it is started.

mod arguments;
mod copy;
mod spec;
mod stdio;
mod watch;

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_container::{Cgroup, CgroupError, Limits, Starter};

use crate::failure::need_root;
use crate::ledger::{Change, ChangeId, Ledger};
use crate::netlab::{self, Lab, User};
use crate::{paths, tools};

use arguments::PIDS;
pub use arguments::RunArgs;
use stdio::Arranged;
use watch::{Signals, Watch};

/// Where iperf3 listens unless it is told another port (iperf3(1)).
const IPERF3_PORT: u16 = 5201;

/// Start it, wait for it, and leave nothing; its exit status. `starter` has begun already, if there is one.
pub fn run(args: &RunArgs, starter: Option<Starter>) -> Result<i32> {
    args.check()?;
    need_root("bench container run", "it makes namespaces, mounts and a cgroup")?;
    // Before anything exists that must be undone.
    let signals = Signals::catch()?;
    let starter = starter.map_or_else(Starter::begin, Ok).context("starting the container's first process")?;
    let limits = spec::limits(args)?;
    let mut spec = spec::spec(args)?;
    if args.rootfs.is_some() && !args.userns {
        eprintln!(
            "bench: without --userns, root in this root folder is the host's root: be sure that you trust its maker"
        );
    }
    let may_make_devices = bench_container::capability_names(&args.cap_add).iter().any(|name| name == "CAP_MKNOD");
    if may_make_devices && !args.userns {
        eprintln!(
            "bench: with MKNOD, root inside can use every device of the host: there is no list of allowed devices, as docker has one"
        );
    }
    let streams = Arranged::of(args)?;
    (spec.streams, spec.window) = (streams.streams, stdio::window());
    spec.user_map.iter().for_each(|map| streams.belong_to(map.first));
    let ledger = Ledger::open(&paths::state_dir()?)?;
    let named = args.name.iter().map(|name| format!(".{name}")).collect::<String>();
    let name = format!("bench-container-{}{named}", ledger.name());
    let planned = Cgroup::plan(&name)?;
    let change = ledger.record(Change::Cgroup { paths: planned.paths() })?;
    let mut cgroup = planned.create(&limits)?;
    if args.pids.is_none() {
        limit_pids(&mut cgroup)?;
    }
    spec.join(&cgroup);
    // Held until the container has ended.
    let lab = match args.net.route() {
        Some(route) => Some(Lab::make(route, User::Container, None)?),
        None => None,
    };
    spec.network = lab.as_ref().map(Lab::work);
    let peer = lab.as_ref().map(|lab| start_peer(lab, &ledger, limits.cpus.as_deref())).transpose()?;
    let init = starter.start(&spec, &streams.given).context("starting the container")?;
    let mut stdio = streams.begin()?;
    let patience = args.stop_timeout;
    let mut watch = Watch { init, signals: &signals, stdio: &mut stdio, patience, broken: None, has_ended: false };
    let status = watch.wait()?;
    let killed_for_memory = cgroup.oom_kills().is_ok_and(|kills| kills > 0);
    // What has not ended by itself ends here.
    let undone = ledger.undo(change);
    watch.finish()?;
    let broken = watch.broken;
    drop(stdio);
    undone?;
    if killed_for_memory {
        eprintln!("bench: the memory limit was met and a process was killed");
    }
    if let Some(peer) = peer {
        ledger.undo(peer)?;
    }
    broken.map_or(Ok(status), Err)
}

/// No fork bomb takes the machine along, unless more is asked for.
fn limit_pids(cgroup: &mut Cgroup) -> Result<()> {
    match cgroup.limit_pids(PIDS) {
        Err(CgroupError::NoController(..)) => {
            eprintln!("bench: processes and threads are not limited: there is no cgroup controller `pids` here");
            Ok(())
        }
        done => Ok(done?),
    }
}

/// The other machine of the lab, with something that answers; it ends with its cgroup.
fn start_peer(lab: &Lab, ledger: &Ledger, cpuset: Option<&str>) -> Result<ChangeId> {
    let name = format!("bench-container-{}-peer", ledger.name());
    let planned = Cgroup::plan(&name)?;
    let change = ledger.record(Change::Cgroup { paths: planned.paths() })?;
    // Where another group has CPUs for itself, only the CPUs that are asked for can be had.
    let cpus = Limits { cpus: cpuset.map(str::to_owned), ..Limits::default() };
    let cgroup = planned
        .create(&Limits::default())
        .or_else(|e| if cpus.cpus.is_some() { planned.create(&cpus) } else { Err(e) })?;
    let mut spec = netlab::peer_spec(netlab::peer_server()?, tools::tree()?, Vec::new());
    spec.seccomp = true;
    spec.network = Some(lab.peer());
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
