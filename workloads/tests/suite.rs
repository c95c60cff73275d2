//! Suite files: the built-in one says what the paper did, and what is wrong is said with its place.

use bench_results::limits;
use bench_workloads::{AnyKind, Suite};

const MINE: &str = r#"name = "mine"
title = "my own"
environments = ["native", "c=container"]
[[workload]]
name = "sort"
title = "sorting"
kind = "command"
argv = ["sort", "/etc/passwd"]
deciding = "wall_time_ns"
[[workload]]
name = "reads"
title = "reads"
pattern = "random-read"
block-size = "4KiB"
iodepth = 4
jobs = 2
deciding = "iops"
[[profile]]
name = "quick"
blocks = 3
runtime = "1s"
warm-up = "0s"
settle = "0s"
size = "64MiB"
margin = "5%"
verdicts = true
"#;

#[test]
fn the_builtin_suite_has_seven_workloads_and_four_profiles() {
    let suite = Suite::builtin("io").unwrap();
    let names: Vec<_> = suite.workloads.iter().map(|workload| workload.name()).collect();
    let expected =
        ["seq-write", "seq-read", "rand-read", "rand-write", "rand-mixed", "rand-read-latency", "rand-read-qd1"];
    assert_eq!(names, expected);
    let quick = suite.profile("quick").unwrap();
    assert_eq!((quick.blocks, quick.runtime_s, quick.warmup_s, quick.margin), (8, 2.0, 0.5, 0.1));
    assert!(!suite.profile("smoke").unwrap().verdicts);
    assert_eq!(suite.profile("paper").unwrap().size_bytes, 16 << 30);
    assert_eq!(suite.workloads[4].record(Vec::new()).parameters["pattern"], "random 70 % read");
}

#[test]
fn error_rates_are_documented_for_the_profiles_as_they_are() {
    for rated in bench_results::calibration::PROFILES {
        let suite = Suite::builtin(rated.suite).unwrap();
        let profile = suite.profile(rated.profile).unwrap();
        let is = (profile.blocks, profile.margin, profile.turns, profile.runtime_s);
        assert_eq!(is, (rated.blocks, rated.margin, rated.turns, rated.runtime_s), "{}", rated.profile);
    }
}

#[test]
fn a_users_own_suite_works_the_same() {
    let suite = Suite::parse(MINE, "mine.toml", &AnyKind).unwrap();
    assert_eq!(suite.environments[1].to_string(), "c=container");
    assert!(!suite.workloads[0].needs_target() && suite.workloads[1].needs_target());
}

#[test]
fn quantities_are_taken_as_people_write_them() {
    let of = |from: &str, to: &str| {
        let text = MINE.replacen(from, to, 1);
        assert_ne!(text, MINE, "{from}");
        Suite::parse(&text, "mine.toml", &AnyKind).unwrap_or_else(|e| panic!("{to}: {e}")).profiles[0].clone()
    };
    let usual = Suite::parse(MINE, "mine.toml", &AnyKind).unwrap().profiles[0].clone();
    for to in ["margin = 5", "margin = 5.0", "margin = \"5\"", "margin = \"5 %\""] {
        assert_eq!(of("margin = \"5%\"", to), usual, "{to}");
    }
    for to in ["runtime = \"1 s\"", "runtime = \"1000ms\"", "runtime = \"1sec\""] {
        assert_eq!(of("runtime = \"1s\"", to), usual, "{to}");
    }
    assert_eq!(of("blocks = 3", "blocks = \"3\""), usual);
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_column() {
    for (from, to, place, said) in [
        ("jobs = 2", "jobs = 2\nspeed = 3", "mine.toml:17:1", "unknown field `speed`"),
        ("\"4KiB\"", "\"4\"", "mine.toml:14:14", "needs a unit"),
        ("\"4KiB\"", "\"3KiB\"", "mine.toml:14:14", "divide 1 MiB"),
        ("iodepth = 4", "iodepth = 0", "mine.toml:15:11", "1 to 1024"),
        ("iodepth = 4", "iodepth = -4", "mine.toml:15:11", "-4"),
        ("iodepth = 4\n", "", "mine.toml:11:8", "needs `iodepth`"),
        ("\"reads\"\ntitle", "\"sort\"\ntitle", "mine.toml:11:8", "second workload"),
        ("\"c=container\"", "\"native\"", "mine.toml:3:27", "second environment"),
        ("\"random-read\"", "\"random-mixed\"", "mine.toml:11:8", "read-percent"),
        ("\"iops\"", "\"speed\"", "mine.toml:17:12", "cannot decide"),
        ("\"iops\"", "\"write_latency_p50_ns\"", "mine.toml:17:12", "it yields iops"),
        ("runtime = \"1s\"", "runtime = \"0s\"", "mine.toml:21:11", "more than 0s"),
        ("runtime = \"1s\"", "runtime = 1", "mine.toml:21:11", "needs a unit"),
        ("margin = \"5%\"", "margin = \"0\"", "mine.toml:25:10", "percentage"),
        ("margin = \"5%\"", "margin = 0.05", "mine.toml:25:10", "`5%`"),
        ("blocks = 3", "blocks = 0", "mine.toml:20:10", "1 to 10000"),
        ("blocks = 3", "blocks = 3\nturns = 0", "mine.toml:21:9", "1 to 20"),
        ("blocks = 3", "blocks = 3\nturns = 21", "mine.toml:21:9", "1 to 20"),
        ("[\"sort\", \"/etc/passwd\"]", "[]", "mine.toml:8:8", "at least the program"),
        ("kind = \"command\"", "kind = \"sockperf\"", "mine.toml:7:8", "fio, command"),
        ("name = \"mine\"", "name = \"../mine\"", "mine.toml:1:8", "not a name"),
        ("title = \"my own\"", "title = \"my own", "mine.toml:2:", ""),
    ] {
        let text = MINE.replacen(from, to, 1);
        assert_ne!(text, MINE, "{from}");
        let error = Suite::parse(&text, "mine.toml", &AnyKind).unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains(said), "{to:?}: {error}");
    }
}

/// iperf3 before 3.18 refuses `-O` beyond 60, in every trial.
#[test]
fn more_than_a_suite_may_have_is_refused_with_the_limit() {
    let reads = &MINE[MINE.find("[[workload]]\nname = \"reads\"").unwrap()..MINE.find("[[profile]]").unwrap()];
    let more: String =
        (0..limits::WORKLOADS).map(|number| reads.replace("\"reads\"", &format!("\"w{number}\""))).collect();
    let workloads = MINE.replace("[[profile]]", &format!("{more}[[profile]]"));
    let named: Vec<_> = (0..=limits::ENVIRONMENTS).map(|number| format!("\"e{number}=native\"")).collect();
    let environments = MINE.replace("\"native\", \"c=container\"", &named.join(", "));
    for (text, said) in [
        (workloads, "it has 1002 workloads, and a suite has at most 1000"),
        (environments, "it has 101 environments, and a suite has at most 100"),
    ] {
        let error = Suite::parse(&text, "mine.toml", &AnyKind).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_warm_up_that_iperf3_refuses_is_refused_with_the_suite() {
    let stream = "kind = \"stream\"\ndirection = \"transmit\"\nport = 5201\ndeciding = \"bandwidth_bytes_per_s\"\n";
    let command = "kind = \"command\"\nargv = [\"sort\", \"/etc/passwd\"]\ndeciding = \"wall_time_ns\"\n";
    assert!(MINE.contains(command));
    for (warm_up, with_stream) in
        [("0s", true), ("59.5s", true), ("60s", true), ("60.1s", false), ("90s", false), ("600s", false)]
    {
        let text = MINE.replacen("warm-up = \"0s\"", &format!("warm-up = \"{warm_up}\""), 1);
        assert!(Suite::parse(&text, "mine.toml", &AnyKind).is_ok(), "fio and commands know no such limit: {warm_up}");
        match Suite::parse(&text.replacen(command, stream, 1), "mine.toml", &AnyKind) {
            Ok(_) => assert!(with_stream, "{warm_up}"),
            Err(e) => {
                let said = e.to_string();
                assert!(
                    !with_stream && said.starts_with("mine.toml:23:11: ") && said.contains("at most 60 s"),
                    "{said}"
                );
            }
        }
    }
}

#[test]
fn the_first_metric_of_the_kind_decides_unless_the_suite_names_another() {
    let text = MINE.replace("deciding = \"wall_time_ns\"\n", "").replace("deciding = \"iops\"\n", "");
    let suite = Suite::parse(&text, "mine.toml", &AnyKind).unwrap();
    let deciding: Vec<_> = suite.workloads.iter().map(|one| one.record(Vec::new()).deciding).collect();
    assert_eq!(deciding, ["wall_time_ns", "iops"]);
}

#[test]
fn every_metric_that_a_workload_yields_is_known() {
    for workload in ["io", "network"].into_iter().flat_map(|name| Suite::builtin(name).unwrap().workloads) {
        for metric in workload.yields() {
            assert!(bench_results::metric::find(metric).is_some(), "{}: {metric}", workload.name());
        }
    }
}

#[test]
fn a_key_of_another_kind_is_refused_where_it_stands() {
    let text = MINE.replacen("kind = \"command\"", "kind = \"command\"\niodepth = 4", 1);
    let error = Suite::parse(&text, "mine.toml", &AnyKind).unwrap_err().to_string();
    assert!(error.starts_with("mine.toml:8:1: unknown field `iodepth`") && error.contains("`argv`"), "{error}");
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    assert!(Suite::builtin("oi").unwrap_err().to_string().contains("there are io"));
    assert!(Suite::builtin("io").unwrap().profile("fast").unwrap_err().to_string().contains("smoke, quick"));
}
