//! Killed at any moment, `bench` leaves nothing that `bench clean` does not undo, and a run goes on where it was, also when it is
//! killed while it goes on.
//!
//! `make soak` asks for more than `make test` does: `BENCH_SOAK_KILLS=50 BENCH_SOAK_RESUMES=5`. The moments follow from a seed,
//! which is printed, and can be given again as `BENCH_SOAK_SEED`.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rand::{Rng, SeedableRng};
use support::{Machine, Stage, eventually, finish, names, stage, within};

/// What is killed, and within how many seconds from its start: suites, environments and phases.
const VICTIMS: [(&str, f64); 12] = [
    ("run --suite io --profile smoke --env native,container --only rand-read --size 64MiB --blocks 3", 9.0),
    (
        "run --suite io --profile smoke --env native,container,vm:accel=tcg --only rand-read,seq-write --size 64MiB",
        14.0,
    ),
    // Where Docker is not installed it ends at once.
    (
        "run --suite io --profile smoke --env native,docker:engine=private --only rand-read --size 64MiB --blocks 3",
        12.0,
    ),
    ("run --suite network --profile smoke --env native,container:net=nat --only tcp-rr,tcp-stream-tx --blocks 2", 9.0),
    ("run --suite network --profile smoke --env native,vm:net=nat:accel=tcg --only udp-rr --blocks 2", 14.0),
    ("run --suite network --profile smoke --env native,container:net=host,vm:net=bridge:accel=tcg --only tcp-rr", 12.0),
    ("run --suite nat-ladder --profile smoke", 9.0),
    // Settles, looks at what others do, and has a control, as only profiles with verdicts do.
    ("run --suite ./settled.toml --profile settled --env native,container", 16.0),
    ("run --profile smoke --env native,container,vm:accel=tcg --blocks 2 -- sleep 0.5", 10.0),
    ("container run --net nat -- sleep 5", 1.0),
    ("container run --init --memory 64MiB -- sh -c sleep${IFS}5&sleep${IFS}5", 0.3),
    ("vm run --options accel=tcg:net=nat -- sleep 5", 4.0),
];
/// The profile of one of them.
const SETTLED: &str = r#"
name = "settled"
blocks = 2
runtime = "1s"
warm-up = "200ms"
settle = "3s"
size = "64MiB"
"#;
/// One in so many victims has an empty cache, so that it is killed while the tree and the images are made.
const FRESH_CACHE: u32 = 10;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// Orphans come to this process, so that it can tell when none is left.
fn assert_no_descendant(patience: Duration) {
    within(patience, "the end of all processes", || {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return true,
                Ok(WaitStatus::StillAlive) => return false,
                _ => {}
            }
        }
    });
}

/// Files that the victim may have made where everybody makes them; this program makes none there meanwhile.
fn temporary_files() -> BTreeSet<String> {
    names(&std::env::temp_dir()).into_iter().filter(|name| name.starts_with(".tmp")).collect()
}

/// As [`kill`] after a while, with no run there before; the folder of the victim's run, if it came so far.
fn kill_new(stage: &Stage, victim: &str, after: Duration, cache: Option<&Path>, before: &Machine) -> Option<PathBuf> {
    let runs = stage.path().join("bench-runs");
    drop(fs::remove_dir_all(&runs));
    kill(stage, victim, || std::thread::sleep(after), cache, before);
    names(&runs).into_iter().map(|name| runs.join(name)).find(|run| run.join("run.json").exists())
}

/// Start a victim, kill it when this has returned, clean, and look at the machine.
fn kill(stage: &Stage, victim: &str, wait: impl FnOnce(), cache: Option<&Path>, before: &Machine) {
    let (began, files) = (Instant::now(), temporary_files());
    let mut command = stage.bench(victim);
    cache.inspect(|cache| Stage::own_cache(&mut command, cache));
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let pid = child.id();
    wait();
    let after = began.elapsed();
    // One that is faster than its moment has ended by itself, which must leave nothing either.
    child.kill().ok();
    child.wait().unwrap();
    let clean = || {
        let mut clean = stage.bench("clean");
        cache.inspect(|cache| Stage::own_cache(&mut clean, cache));
        let (status, _, err) = finish(clean);
        assert_eq!(status, 0, "{victim}: {err}");
    };
    clean();
    // What the victim measures with is dead by now, and not only soon at its end; what builds ends by itself.
    assert_no_descendant(Duration::from_secs(if cache.is_some() { 60 } else { 2 }));
    stage.assert_clean(pid);
    assert_eq!(temporary_files(), files, "{victim}");
    if cache.is_some() {
        // Programs that build for the victim may have outlived it, and the first clean.
        clean();
    }
    let half_made = cache.map(|cache| names(&cache.join("half-made"))).unwrap_or_default();
    assert_eq!(half_made, Vec::<String>::new(), "{victim}, killed after {after:?}");
    let found = Machine::now();
    assert_eq!(found.differences(before), Vec::<String>::new(), "{victim}, killed after {after:?}");
}

/// The run goes on, is killed again so long after it has recorded something, and goes on to its end; all its trials are there and
/// valid, and it says how often it was stopped. False when there was nothing left to do.
fn resume(stage: &Stage, run: &Path, after: Duration, before: &Machine) -> bool {
    let json =
        |run: &Path| -> serde_json::Value { serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap() };
    let planned = json(run)["plan"]["trials"].as_array().unwrap().len();
    let trials = || -> Vec<serde_json::Value> {
        let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
        // A torn last line is left out.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let standing = || trials().into_iter().filter(|trial| trial["superseded"] == false).collect::<Vec<_>>();
    let is_whole = || json(run)["state"] == "complete" || standing().len() == planned;
    let (was_whole, were_recorded) = (is_whole(), trials().len());
    if !was_whole {
        let recorded = || {
            eventually("a trial", || trials().len() > were_recorded);
            std::thread::sleep(after);
        };
        kill(stage, "run --resume last", recorded, None, before);
    }
    // One that came to its end leaves no second break.
    let whole_by_now = is_whole();
    let breaks = if whole_by_now { 1 } else { 2 };
    let (status, out, err) = stage.run("run --resume last");
    assert_eq!(status, 0, "{out}{err}");
    let record = json(run);
    assert_eq!(record["state"], "complete");
    if was_whole {
        return false;
    }
    let standing = standing();
    assert_eq!(standing.len(), planned);
    assert!(standing.iter().all(|trial| trial["failure"].is_null() && trial["invalid"] == serde_json::json!([])));
    assert_eq!(record["breaks"].as_array().unwrap().len(), breaks, "{record:#}");
    assert!(whole_by_now || out.contains("the run was stopped"), "{out}");
    let (status, out, _) = stage.run("run --resume last");
    let said = format!("{} is complete: nothing left to do", record["id"].as_str().unwrap());
    assert_eq!((status, out.trim_end()), (0, said.as_str()));
    println!(
        "kills: resumed, {}",
        if breaks == 2 { "killed, resumed again" } else { "to its end before it could be killed" }
    );
    true
}

#[test]
fn kills_at_random_moments_leave_nothing_and_runs_go_on() {
    let Some(stage) = stage() else { return };
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let (kills, resumes) = (number("BENCH_SOAK_KILLS", 5), number("BENCH_SOAK_RESUMES", 1));
    let seed = number("BENCH_SOAK_SEED", rand::random::<u32>().into());
    println!("kills: seed {seed}");
    let mut random = rand_chacha::ChaCha12Rng::seed_from_u64(seed);
    stage.write_suite("settled", "iodepth = 16\njobs = 2", SETTLED);
    // Whatever is made once and kept is there before.
    assert_eq!(stage.run("vm run --options accel=tcg -- true").0, 0);
    let before = Machine::now();
    let mut resumed = 0;
    for number in 0..kills {
        let (victim, seconds) = VICTIMS[(number as usize + random.random_range(0..VICTIMS.len())) % VICTIMS.len()];
        let after = Duration::from_secs_f64(random.random_range(0.0..seconds));
        let cache = random.random_ratio(1, FRESH_CACHE).then(|| tempfile::tempdir_in(stage.path()).unwrap());
        let run = kill_new(&stage, victim, after, cache.as_ref().map(|cache| cache.path()), &before);
        println!("kills: {} of {kills} after {:5.2} s: bench {victim}", number + 1, after.as_secs_f64());
        // Trials of `smoke` are not judged by what a busy machine does to them.
        let goes_on = victim.contains("smoke") && cache.is_none();
        let again = Duration::from_secs_f64(random.random_range(0.0..2.0));
        if let Some(run) = run.filter(|_| resumed < resumes && goes_on) {
            resumed += u64::from(resume(&stage, &run, again, &before));
        }
    }
    // Chance may have killed too early or too late to leave anything to go on with.
    while resumed < resumes {
        let run = kill_new(&stage, VICTIMS[0].0, Duration::from_secs(4), None, &before);
        resumed += run.map_or(0, |run| u64::from(resume(&stage, &run, Duration::from_millis(500), &before)));
    }
    assert_no_descendant(Duration::from_secs(60));
    assert_eq!(Machine::now().differences(&before), Vec::<String>::new());
    println!("kills: {kills} survived, 0 leftovers, {resumed} runs resumed to their end");
}
