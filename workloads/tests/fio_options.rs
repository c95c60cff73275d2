//! The options of workloads of kind fio: refused where they are wrong, and executed by the real fio on a real disk.

use std::os::fd::AsFd;
use std::path::Path;

use bench_agent::{Channel, execute};
use bench_results::record::Profile;
use bench_results::validity::judge;
use bench_workloads::{AnyKind, Engine, Measured, Place, Suite, Work, Workload, engine_job, engine_result};

const SUITE: &str = r#"name = "mine"
title = "my own"
environments = ["native"]
[[workload]]
name = "one"
title = "one"
pattern = "random-read"
block-size = "4KiB"
iodepth = 4
jobs = 2
#
[[profile]]
name = "smoke"
blocks = 1
runtime = "300ms"
warm-up = "0s"
settle = "0s"
size = "16MiB"
margin = "5%"
verdicts = false
"#;

/// The suite with other lines in place of some.
fn suite(changes: &[(&str, &str)]) -> Result<Suite, String> {
    let text = changes.iter().fold(SUITE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    Suite::parse(&text, "mine.toml", &AnyKind).map_err(|e| e.to_string())
}

const WRITES: (&str, &str) = ("random-read", "sequential-write");
const SHALLOW: (&str, &str) = ("iodepth = 4", "iodepth = 1");

#[test]
fn what_is_wrong_is_refused_where_it_stands() {
    for (changes, place, said) in [
        (&[("#", "ioengine = \"rbd\"")][..], "11:12", "libaio, io_uring, posixaio, sync"),
        (&[("#", "ioengine = 3")], "11:12", "string"),
        (&[("#", "ioengine = \"psync\"")], "9:11", "synchronous"),
        (&[("#", "direct = \"no\"")], "11:10", "boolean"),
        (&[("#", "fsync = 1")], "11:9", "only reads"),
        (&[WRITES, ("#", "fsync = 0")], "11:9", "1 to"),
        (&[WRITES, ("#", "fsync = 1\nfdatasync = 1")], "12:13", "not both"),
        (&[("#", "rate-iops = 1")], "11:13", "each needs at least 1"),
        (&[("#", "rate-iops = 100\npaced = \"70%\"")], "12:9", "not both"),
        (&[("#", "paced = true")], "11:9", "1 to 99"),
        (&[("#", "paced = \"100%\"")], "11:9", "1 to 99"),
        (&[("#", "distribution = \"zipf:1\"")], "11:16", "not 1"),
        (&[("#", "distribution = \"zoned:50/10\"")], "11:16", "zipf:THETA"),
        (&[("#", "distribution = \"pareto:1.5\"")], "11:16", "between 0 and 1"),
        (&[WRITES, ("#", "distribution = \"zipf:1.2\"")], "11:16", "random pattern"),
        (&[("4KiB", "2300 bytes")], "8:14", "direct = false takes others"),
        (&[("4KiB", "2MiB"), ("#", "direct = false")], "8:14", "1 MiB at most"),
        (&[("#", "io_engine = \"sync\"")], "11:1", "unknown field"),
    ] {
        let error = suite(changes).unwrap_err();
        assert!(error.starts_with(&format!("mine.toml:{place}: ")) && error.contains(said), "{changes:?}: {error}");
    }
}

#[test]
fn options_are_a_part_of_what_a_workload_is() {
    let of = |changes: &[(&str, &str)]| suite(changes).unwrap().workloads[0].record(Vec::new());
    let usual = of(&[]);
    for (changes, name, value) in [
        (&[("#", "ioengine = \"io_uring\"")][..], "engine", "io_uring, direct"),
        (&[("#", "direct = false")], "engine", "libaio, buffered"),
        (&[WRITES, ("#", "fdatasync = 8")], "fdatasync", "8"),
        (&[("#", "rate-iops = 500")], "rate_iops", "500"),
        (&[("#", "paced = \"70%\"")], "paced_percent", "70"),
        (&[("#", "distribution = \"zipf:1.20\"")], "distribution", "zipf:1.2"),
    ] {
        let record = of(changes);
        assert_eq!(record.parameters.get(name).map(String::as_str), Some(value), "{changes:?}");
        assert_ne!(record.parameters, usual.parameters);
    }
    let unsaid = of(&[("#", "ioengine = \"libaio\"\ndirect = true\ndistribution = \"random\"")]);
    assert_eq!(unsaid, usual, "to say what holds anyway changes nothing");
}

#[test]
fn what_a_workload_is_about_decides() {
    let deciding = |changes: &[(&str, &str)]| suite(changes).unwrap().workloads[0].record(Vec::new()).deciding;
    assert_eq!(deciding(&[]), "iops");
    assert_eq!(deciding(&[WRITES, ("#", "fdatasync = 1")]), "sync_latency_p99_ns");
    assert_eq!(deciding(&[("#", "rate-iops = 500")]), "read_latency_p99_ns");
    assert_eq!(deciding(&[("random-read", "random-write"), ("#", "paced = \"50%\"")]), "write_latency_p99_ns");
}

#[test]
fn an_engine_from_outside_takes_the_place_of_the_suites() {
    let mut workload = suite(&[]).unwrap().workloads.remove(0);
    assert_eq!(workload.set_engine(Engine::IoUring), Ok(true));
    assert_eq!(workload.record(Vec::new()).parameters["engine"], "io_uring, direct");
    assert!(workload.set_engine(Engine::Psync).unwrap_err().contains("`one`"), "depth 4");
    let mut command = Workload::command(vec!["true".into()]);
    assert_eq!(command.set_engine(Engine::IoUring), Ok(false));
}

fn place(folder: &Path) -> Place {
    Place {
        target: Some(folder.join("target").display().to_string()),
        size_bytes: 16 << 20,
        fio: "/usr/bin/fio".to_owned(),
        path_env: "/usr/bin:/bin".to_owned(),
        bench: String::new(),
        network: None,
    }
}

/// A folder on a disk with a target that is written.
fn folder() -> Option<tempfile::TempDir> {
    if !Path::new("/usr/bin/fio").exists() {
        eprintln!("skipped: /usr/bin/fio is not installed");
        return None;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(folder.path().join("target"), vec![0xa5; 16 << 20]).unwrap();
    Some(folder)
}

fn run(job: &bench_agent::Job, folder: &Path) -> bench_agent::JobOutput {
    let (reader, _writer) = std::io::pipe().unwrap();
    execute(job, folder, &mut Channel::new(reader.as_fd(), &mut std::io::sink())).unwrap()
}

fn measured(workload: &Workload, profile: &Profile, folder: &Path) -> Measured {
    let output = run(&workload.trial(&place(folder), profile, 7).unwrap().measured, folder);
    let name = workload.name();
    let measured = workload.measure(&output).unwrap_or_else(|why| panic!("{name}: {why}\n{}", output.stdout.text()));
    assert_eq!(judge(&measured.facts, false), [], "{name}");
    measured
}

fn one(changes: &[(&str, &str)], folder: &Path) -> Measured {
    let suite = suite(changes).unwrap();
    measured(&suite.workloads[0], suite.profile("smoke").unwrap(), folder)
}

fn value(measured: &Measured, name: &str) -> f64 {
    measured.measurements.iter().find(|one| one.metric == name).unwrap_or_else(|| panic!("{name}: {measured:?}")).value
}

#[test]
fn every_engine_does_the_same_io() {
    let Some(folder) = folder() else { return };
    for engine in ["libaio", "io_uring", "posixaio", "sync", "psync", "pvsync", "pvsync2"] {
        if let Err(why) = engine_result(&run(&engine_job(&place(folder.path()), engine), folder.path())) {
            eprintln!("skipped: {engine}: {why}");
            continue;
        }
        let measured = one(&[SHALLOW, ("#", &format!("ioengine = \"{engine}\""))], folder.path());
        assert!(measured.moved_bytes.is_some_and(|(read, written)| read > 0 && written == 0), "{engine}");
        assert!(matches!(measured.work, Some(Work::Blocks { bytes: 4096 })), "{engine}");
    }
}

#[test]
fn an_engine_that_is_not_there_is_told_in_fios_words() {
    let Some(folder) = folder() else { return };
    let why = engine_result(&run(&engine_job(&place(folder.path()), "no-such"), folder.path())).unwrap_err();
    assert!(why.contains("no-such"), "{why}");
}

#[test]
fn syncs_have_latencies_and_their_bytes_are_not_accounted() {
    let Some(folder) = folder() else { return };
    let log = [
        WRITES,
        SHALLOW,
        ("jobs = 2", "jobs = 1"),
        ("4KiB", "2300 bytes"),
        ("#", "ioengine = \"sync\"\ndirect = false\nfdatasync = 2"),
    ];
    let measured = one(&log, folder.path());
    let (syncs, writes) = (measured.histograms["sync"].count(), measured.facts["fio.ios"].as_u64().unwrap());
    assert!(syncs > 0 && syncs.abs_diff(writes / 2) <= 2, "{syncs} syncs after {writes} writes");
    assert!(value(&measured, "sync_latency_mean_ns") > 0.0);
    assert_eq!(measured.facts["fio.bytes"].as_u64().unwrap(), 2300 * writes);
    assert!(measured.moved_bytes.is_none() && matches!(measured.work, Some(Work::PerSecond { unit: "io", .. })));
    assert!(measured.facts["fio.unaccounted"].as_str().unwrap().contains("page cache"));
    let direct = one(&[("random-read", "random-write"), ("#", "fsync = 4")], folder.path());
    assert!(direct.facts["fio.unaccounted"].as_str().unwrap().contains("journal"));
}

#[test]
fn a_rate_is_kept_of_all_jobs_and_directions_together() {
    let Some(folder) = folder() else { return };
    for pattern in ["random-read", "random-write", "random-mixed\"\nread-percent = \"70"] {
        let changes = [SHALLOW, ("random-read", pattern), ("#", "rate-iops = 1000"), ("300ms", "1s")];
        let measured = one(&changes, folder.path());
        let iops = value(&measured, "iops");
        assert!((850.0..1150.0).contains(&iops), "{pattern}: {iops}");
        let reached = measured.facts["pace.reached_percent"].as_f64().unwrap();
        assert!((90.0..=100.0).contains(&reached), "{reached}");
    }
}

#[test]
fn a_share_is_paced_as_it_is_told() {
    let Some(folder) = folder() else { return };
    let suite = suite(&[SHALLOW, ("#", "paced = \"70%\""), ("300ms", "1s")]).unwrap();
    let (mut workload, profile) = (suite.workloads[0].clone(), suite.profile("smoke").unwrap());
    assert!(workload.needs_pace() && (workload.pace_share() - 0.7).abs() < 1e-9);
    let free = measured(&workload.unpaced(), profile, folder.path()).rate_per_s.unwrap();
    assert!(free > 100.0, "{free}");
    workload.set_pace(501.0);
    assert!(!workload.needs_pace());
    assert_eq!(workload.record(Vec::new()).rate_per_s(), Some(502.0), "whole I/Os of two jobs");
    let iops = value(&measured(&workload, profile, folder.path()), "iops");
    assert!((420.0..590.0).contains(&iops), "{iops}");
}

#[test]
fn hot_blocks_are_hit_more_often() {
    let Some(folder) = folder() else { return };
    let written = |changes: &[(&str, &str)]| {
        std::fs::write(folder.path().join("target"), vec![0; 16 << 20]).unwrap();
        let measured = one(&[changes, &[("random-read", "random-write")]].concat(), folder.path());
        let content = std::fs::read(folder.path().join("target")).unwrap();
        let hit = content.chunks(4096).filter(|block| block.iter().any(|&byte| byte != 0)).count() as f64;
        hit / measured.facts["fio.ios"].as_f64().unwrap()
    };
    let (alike, hot) =
        (written(&[("#", "rate-iops = 4000")]), written(&[("#", "rate-iops = 4000\ndistribution = \"zipf:1.4\"")]));
    assert!(hot < 0.7 * alike, "{hot} blocks for each write, and {alike} where all are alike");
}

#[test]
fn the_suites_of_databases_and_open_loops_are_executed() {
    let Some(folder) = folder() else { return };
    for name in ["database", "open-loop"] {
        let suite = Suite::builtin(name).unwrap();
        let profile = Profile { runtime_s: 0.4, warmup_s: 0.1, ..suite.profile("smoke").unwrap().clone() };
        for workload in &suite.workloads {
            let mut workload = workload.clone();
            if workload.needs_pace() {
                workload.set_pace(1600.0);
            }
            let measured = measured(&workload, &profile, folder.path());
            let deciding = workload.record(Vec::new()).deciding;
            let of = deciding.split_once("_latency_").map_or("", |(of, _)| of);
            assert!(deciding == "iops" || measured.histograms.contains_key(of), "{}: {deciding}", workload.name());
            let runtime = measured.facts["fio.runtime_s"].as_f64().unwrap();
            assert!((0.35..1.0).contains(&runtime), "{}: {runtime} s", workload.name());
        }
    }
}
