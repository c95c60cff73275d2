//! Labs on the real kernel, with the probe and sockperf in them. They need root.

use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bench_workloads::probe::{Mode, Outcome, Pace, Session, ask, serve};

use super::*;

const ROUTES: [Route; 5] = [Route::Direct, Route::Bridge, Route::Routed, Route::Hook, Route::Nat];

/// What is measured here needs the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each end on a CPU of its own, as in a run: the scheduler must not decide what is compared. Threads and what they start.
fn pin(end: usize) {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    bench_container::pin(0, end % cpus).unwrap();
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: labs need root; run `make test`");
    }
    is_root
}

fn user(route: Route) -> User {
    if route == Route::Direct { User::Process } else { User::Container }
}

/// Do something where the work of a lab is.
fn at_work<T: Send>(lab: &Lab, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    in_namespace(lab.inside.as_ref().unwrap_or(&lab.host), action)
}

/// Both ends of the probe.
fn probe(lab: &Lab, mode: Mode, port: u16, bytes: usize) -> Outcome {
    let session = Session { mode, address: PEER, port, request_bytes: bytes, response_bytes: bytes };
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            lab.in_peer(|| {
                pin(1);
                Ok(serve(&session)?)
            })
        });
        let pace = Pace { warmup_s: 0.2, runtime_s: 0.8, per_s: None };
        let asked = at_work(lab, || {
            pin(0);
            Ok(ask(&session, &pace)?)
        });
        let outcome = asked.unwrap();
        server.join().unwrap().unwrap();
        outcome
    })
}

#[test]
fn every_route_reaches_the_peer_and_counts_what_it_should() {
    if !is_root() {
        return;
    }
    let _alone = alone();
    for route in ROUTES {
        let lab = Lab::make(route, user(route), None).unwrap();
        let before = lab.counters().unwrap();
        let outcome = probe(&lab, Mode::UdpRr, 5311, 100);
        let after = lab.counters().unwrap();
        assert!(outcome.done > 500 && outcome.lost == 0, "{route:?}: {outcome:?}");
        let seen = after.rules_since(&before);
        match route {
            // Every packet of both ways, and at least the first of a connection.
            Route::Hook => assert!(seen >= Some(2 * outcome.done), "{route:?}: {seen:?} of {}", outcome.done),
            Route::Nat => assert!(seen >= Some(1) && after.tracked >= Some(1), "{route:?}: {seen:?} {after:?}"),
            _ => assert_eq!(seen, None),
        }
    }
}

#[test]
fn devices_of_all_routes_are_set_alike() {
    if !is_root() {
        return;
    }
    let lab = Lab::make(Route::Direct, User::Process, None).unwrap();
    let native = at_work(&lab, || describe(device(Route::Direct))).unwrap();
    assert_eq!((native.mtu, native.qdisc.as_str()), (1500, "noqueue"));
    for route in ROUTES.into_iter().skip(1) {
        let lab = Lab::make(route, User::Container, None).unwrap();
        let other = at_work(&lab, || describe(device(route))).unwrap();
        assert_eq!(other.differences(&native), Vec::<String>::new(), "{route:?}");
    }
    // A guest's port passes large packets on.
    let lab = Lab::make(Route::Bridge, User::Guest, None).unwrap();
    assert_eq!(lab.in_host(|| describe(PORT)).unwrap().mtu, 1500);
}

/// The median of sockperf's round trips in nanoseconds: it prints half of it, in microseconds.
fn sockperf(lab: &Lab, sockperf: &std::path::Path) -> f64 {
    let end = ["--tcp", "-i", "198.18.0.2", "-p", "5312"];
    let quiet = |arguments: &[&str]| {
        let mut command = Command::new(sockperf);
        command.args(arguments).args(end).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let started = lab.in_peer(|| {
        pin(1);
        Ok(quiet(&["server"]).spawn()?)
    });
    let mut server = started.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let client = at_work(lab, || {
        pin(0);
        Ok(quiet(&["ping-pong", "-t", "1", "-m", "100"]).output()?)
    });
    server.kill().unwrap();
    server.wait().unwrap();
    let text = String::from_utf8_lossy(&client.unwrap().stdout).into_owned();
    let half = text.lines().find_map(|line| line.split_once("percentile 50.000 =")).unwrap_or_else(|| panic!("{text}"));
    2e3 * half.1.trim().parse::<f64>().unwrap()
}

/// The median of the probe's round trips in nanoseconds.
fn median(outcome: &Outcome) -> f64 {
    let mut so_far = 0;
    let reaches_half = |(_, count): &&(u64, u64)| {
        so_far += count;
        2 * so_far >= outcome.done
    };
    outcome.bins.iter().find(reaches_half).unwrap().0 as f64
}

/// Another program's round trips in the same lab, interleaved.
#[test]
fn the_probe_agrees_with_sockperf() {
    let Some(program) = crate::host::packages::find("sockperf").filter(|_| is_root()) else {
        eprintln!("skipped: sockperf is not installed, or this is not root");
        return;
    };
    let _alone = alone();
    let lab = Lab::make(Route::Direct, User::Process, None).unwrap();
    let pair = || {
        let theirs = sockperf(&lab, &program);
        median(&probe(&lab, Mode::TcpRr, 5313, 100)) / theirs
    };
    // One pair is off by a tenth every fourth time, the middle of seven seldom: then more pairs, up to 21.
    let mut ratios = Vec::new();
    let mut middle = f64::NAN;
    while ratios.len() < 21 && !(ratios.len() >= 7 && (0.9..1.1).contains(&middle)) {
        ratios.push(pair());
        ratios.sort_by(f64::total_cmp);
        middle = ratios[ratios.len() / 2];
    }
    assert!((0.9..1.1).contains(&middle), "probe / sockperf: {ratios:.3?}");
}
