//! `bench import` by the real binary: results of other tools become a record that is shown and compared, and never judged.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bench_results::limits;
use serde_json::{Value, json};

const CAVEAT: &str = "imported: comparability unknown";
const FIO: &str = include_str!("../../workloads/fio-rs/tests/golden/good.out");
const OLD_FIO: &str = include_str!("../../workloads/fio-rs/tests/golden/good-3.1.out");
const STOPPED_FIO: &str = include_str!("../../workloads/fio-rs/tests/golden/sigint.out");
const FAILED_FIO: &str = include_str!("../../workloads/fio-rs/tests/golden/full.out");
const IPERF3: &str = include_str!("../../workloads/tests/golden/iperf3-3.19.json");
const STREAM: &str = include_str!("../../workloads/tests/golden/iperf3-3.19-stream.json");

/// A place with files of this content.
fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// Exit code, standard output and standard error.
fn bench(folder: &Path, arguments: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(arguments.split_whitespace()).current_dir(folder).stdin(Stdio::null());
    let output = command.env_remove("SUDO_UID").env_remove("SUDO_GID").output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code().unwrap(), out, err)
}

fn imported(folder: &Path, arguments: &str) -> PathBuf {
    let (status, out, err) = bench(folder, &format!("import {arguments}"));
    assert_eq!(status, 0, "{arguments}: {out}{err}");
    assert!(err.contains(CAVEAT), "{err}");
    folder.join(out.trim())
}

fn shown(folder: &Path, arguments: &str) -> String {
    let (status, out, err) = bench(folder, arguments);
    assert_eq!((status, err.as_str()), (0, ""), "{arguments}: {out}");
    out
}

fn run(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path.join("run.json")).unwrap()).unwrap()
}

fn trials(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path.join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// fio's result as it would be with rates and times of another machine, on another day.
fn faster(text: &str, factor: f64) -> String {
    let mut all: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    all["timestamp_ms"] = json!(all["timestamp_ms"].as_u64().unwrap() + (86_400_000.0 * factor) as u64);
    for job in all["jobs"].as_array_mut().unwrap() {
        for part in ["read", "write"] {
            let part = job[part].as_object_mut().unwrap();
            for count in ["total_ios", "io_bytes"] {
                part[count] = json!((part[count].as_f64().unwrap() * factor).round() as u64);
            }
            for rate in ["iops", "bw_bytes"] {
                part[rate] = json!(part[rate].as_f64().unwrap() * factor);
            }
            part["clat_ns"].as_object_mut().unwrap().remove("bins");
        }
    }
    all.to_string()
}

fn hyperfine(times: &[f64]) -> String {
    let exits = vec![0; times.len()];
    json!({"results": [{"command": "sort words", "mean": times[0], "times": times, "exit_codes": exits}]}).to_string()
}

#[test]
fn fios_results_become_a_record_that_is_shown_and_never_judged() {
    let all = [
        ("a.json", FIO),
        ("b.json", &*faster(FIO, 0.98)),
        ("c.json", &*faster(FIO, 0.5)),
        ("d.json", &*faster(FIO, 0.51)),
    ];
    let folder = place(&all);
    let path = imported(folder.path(), "bare=a.json bare=b.json vm=c.json vm=d.json");
    let record = run(&path);
    assert_eq!((record["state"].as_str(), record["plan"]["suite"].as_str()), (Some("complete"), Some("imported-fio")));
    assert_eq!(record["imported"]["files"][2]["environment"], "vm");
    assert_eq!(record["imported"]["files"][0]["tools"], json!(["fio-3.33"]));
    assert_eq!((record["plan"]["reference"].as_str(), &record["plan"]["profile"]["blocks"]), (Some("bare"), &json!(2)));
    assert_eq!(record["environments"][1]["kind"], "imported");
    let trials = trials(&path);
    assert_eq!((trials.len(), trials[0]["started_at"].as_str()), (8, Some("")));
    assert!(trials.iter().all(|trial| trial["measurements"].as_array().unwrap().len() > 4));
    for format in ["html", "md", "json"] {
        assert!(shown(folder.path(), &format!("report last --format {format}")).contains(CAVEAT), "{format}");
    }
    for format in ["csv", "comparisons"] {
        assert!(shown(folder.path(), &format!("report last --format {format}")).contains("measured"), "{format}");
    }
    let summary = shown(folder.path(), "report last");
    assert!(summary.starts_with(&format!("not judged: {CAVEAT}")), "{summary}");
    assert!(path.join("report/index.html").exists());
    let report: Value = serde_json::from_str(&shown(folder.path(), "report last --format json")).unwrap();
    assert_eq!(report["reportable"]["reasons"][0]["rule"], "imported");
    assert_eq!(report["reportable"]["reasons"].as_array().unwrap().len(), 1, "{}", report["reportable"]);
    let rows = report["results"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["ratio"].as_f64().is_some() && row["verdict"] == "none"), "{rows:#?}");
    assert!(shown(folder.path(), "list runs").contains("imported-fio"));
    shown(folder.path(), "export last --to run.tar.gz");
    assert!(shown(folder.path(), "report run.tar.gz --format md").contains(CAVEAT));
    for refused in ["power last", "run --resume last"] {
        let (status, _, err) = bench(folder.path(), refused);
        assert!(status == 2 && err.contains("imported"), "{refused}: {err}");
    }
}

#[test]
fn two_imported_runs_have_ratios_and_open_no_gate() {
    let folder =
        place(&[("a.json", FIO), ("b.json", &faster(FIO, 0.5)), ("gate.toml", "on-inconclusive = \"pass\"\n")]);
    let [a, b] = ["a.json", "b.json"].map(|file| imported(folder.path(), &format!("{file} --name {}", &file[..1])));
    let [a, b] = [a, b].map(|path| path.display().to_string());
    assert!(a.contains("Z-a-") && b.contains("Z-b-"));
    for policy in ["", " --policy gate.toml"] {
        let (status, out, err) = bench(folder.path(), &format!("compare {a} {b}{policy}"));
        assert_eq!(status, 4, "{out}{err}");
        assert!(out.contains(&format!("not judged: {CAVEAT}")) && out.contains("50 %"), "{out}");
    }
    let (_, out, _) = bench(folder.path(), &format!("compare {a} {b} --format json"));
    let judgement: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&judgement["outcome"], &judgement["base"][0]["imported"]), (&json!("inconclusive"), &json!(true)));
    let (status, out, _) = bench(folder.path(), &format!("compare {a} {b} --format junit"));
    assert!(status == 4 && out.contains(CAVEAT) && !out.contains("errors=\"0\""), "{out}");
    let (status, _, err) = bench(folder.path(), &format!("compare {a} {a}"));
    assert!(status == 2 && err.contains("on both sides"), "{err}");
    // Within one run, too, and with a history.
    let both = imported(folder.path(), "old=a.json new=b.json").display().to_string();
    let (status, out, err) = bench(folder.path(), &format!("compare {both} --env old,new"));
    assert!(status == 4 && out.contains(CAVEAT), "{out}{err}");
    let (status, out, err) = bench(folder.path(), &format!("compare {a} {b} --history bench-runs"));
    assert!(status == 4 && out.contains(CAVEAT), "{out}{err}");
}

#[test]
fn iperf3_and_hyperfine_are_imported_as_well() {
    let two = hyperfine(&[0.2, 0.21]);
    let folder = place(&[
        ("net.json", IPERF3),
        ("stream.json", STREAM),
        ("a.json", &hyperfine(&[0.1, 0.11, 0.12])),
        ("b.json", &two),
    ]);
    let path = imported(folder.path(), "net.json stream.json");
    let found = trials(&path);
    assert_eq!((found.len(), &found[0]["workload"]), (2, &json!("tcp-transmit")));
    assert_eq!(found[0]["measurements"][0]["value"].as_f64(), Some(12839659009.463842 / 8.0));
    assert_eq!(found[0]["facts"]["iperf3.retransmits"], 5);
    assert!(shown(folder.path(), "report last --format md").contains(CAVEAT));
    let path = imported(folder.path(), "a.json vm=b.json");
    assert_eq!((trials(&path).len(), &run(&path)["plan"]["profile"]["blocks"]), (5, &json!(3)));
    let report = shown(folder.path(), "report last");
    assert!(report.contains("sort-words") && report.starts_with("not judged"), "{report}");
    let mixed = imported(folder.path(), "a.json net.json");
    assert_eq!(run(&mixed)["plan"]["suite"], "imported-iperf3,imported-hyperfine");
    shown(folder.path(), "report last");
}

#[test]
fn every_form_of_a_file_is_taken() {
    let minified = serde_json::from_str::<Value>(FIO).unwrap().to_string();
    let folder = place(&[
        ("minified.json", &minified),
        ("bom.json", &format!("\u{feff}{FIO}")),
        ("several.json", &format!("{FIO}{}\n{}", faster(FIO, 0.9), faster(FIO, 1.1))),
        ("old.json", OLD_FIO),
        ("stopped.json", STOPPED_FIO),
    ]);
    symlink("minified.json", folder.path().join("vm=link.json")).unwrap();
    for (file, blocks) in
        [("minified.json", 1), ("bom.json", 1), ("several.json", 3), ("old.json", 1), ("vm=link.json", 1)]
    {
        let path = imported(folder.path(), file);
        assert_eq!(run(&path)["plan"]["profile"]["blocks"], blocks, "{file}");
        assert_eq!(run(&path)["environments"][0]["name"], "imported", "{file}");
        assert!(shown(folder.path(), "report last").contains(CAVEAT), "{file}");
    }
    let (status, _, err) = bench(folder.path(), "import stopped.json --env bare");
    assert!(status == 0 && err.contains("terminating on signal 2"), "{err}");
    let (status, _, err) = bench(folder.path(), "import bom.json bom.json");
    assert!(status == 0 && err.contains("bom.json is the same as bom.json"), "{err}");
}

#[test]
fn other_options_are_told() {
    let other = FIO.replace("\"bs\" : \"4096\"", "\"bs\" : \"64k\"");
    assert_ne!(other, FIO);
    let folder = place(&[("a.json", FIO), ("b.json", &faster(&other, 0.5)), ("old.json", OLD_FIO)]);
    // Of two environments they may be what is compared; of one they are two things.
    let path = imported(folder.path(), "a=a.json b=b.json");
    let record = run(&path);
    let warnings = record["warnings"].to_string();
    assert!(warnings.contains("bs of measured is 4096 in a and 65536 in b"), "{warnings}");
    assert_eq!(record["plan"]["workloads"].as_array().unwrap().len(), 2);
    assert!(record["plan"]["workloads"][0]["parameters"]["bs"].is_null());
    let record = run(&imported(folder.path(), "a.json b.json old.json"));
    let names = record["plan"]["workloads"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["warm-up", "measured", "warm-up-2", "measured-2", "warm-up-3", "measured-3"]
    );
    shown(folder.path(), "report last");
    let [a, b] = ["a.json", "old.json"].map(|file| imported(folder.path(), file).display().to_string());
    let (status, out, err) = bench(folder.path(), &format!("compare {a} {b}"));
    assert!(status == 4 && out.contains("tool.fio.version is `fio-3.33` in BASE and `fio-3.1` in NEW"), "{out}{err}");
}

#[test]
fn what_cannot_be_imported_leaves_nothing_behind() {
    let no_iops = FIO.replace("\"iops\" : 22683.168317", "\"iops\" : null");
    assert_ne!(no_iops, FIO);
    let folder = place(&[
        ("good.json", FIO),
        ("empty.json", ""),
        ("page.html", "<html></html>"),
        ("text.json", "measured: (groupid=1, jobs=2): err= 0\n"),
        ("torn.json", &FIO[..FIO.len() / 2]),
        ("old.json", &FIO.replace("fio-3.33", "fio-2.21")),
        ("failed.json", FAILED_FIO),
        ("null.json", &no_iops),
        ("time.json", &hyperfine(&[0.1, -1.0])),
    ]);
    fs::File::create(folder.path().join("huge.json")).unwrap().set_len(65 << 20).unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    for (arguments, said) in [
        ("", "FILE"),
        ("missing.json", "missing.json"),
        ("empty.json", "it is empty"),
        ("page.html", "HTML"),
        ("text.json", "--output-format=json+"),
        ("torn.json", "line 1: the result that begins here breaks off"),
        ("old.json", "fio 2.21"),
        ("failed.json", "jobs[0].error: the job \"full\" failed (No space left on device)"),
        ("null.json", "null.json: jobs[1].read.iops: it is null"),
        ("good.json null.json", "jobs[1].read.iops"),
        ("time.json", "results[0].times[1]: it is -1.0"),
        ("huge.json", "at most 64 MiB"),
        ("pipe", "a pipe or device"),
        (".", "a folder"),
        ("/dev/zero", "a pipe or device"),
        ("good.json --env No", "--env No: a name has"),
        ("good.json --name ../x", "--name ../x: a name has"),
    ] {
        let (status, out, err) = bench(folder.path(), &format!("import {arguments}"));
        assert!(status == 2 && out.is_empty() && err.contains(said), "{arguments}: {status} {out}{err}");
        assert!(!folder.path().join("bench-runs").exists(), "{arguments}");
    }
}

/// fio's result with another text of these in the place of the first.
fn replaced(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

#[test]
fn every_trial_has_an_id_of_its_own() {
    let two = replaced(FIO, &[("\"warm-up\"", "\"randread\""), ("\"measured\"", "\"randread-4k\"")]);
    let folder = place(&[("a.json", &two)]);
    symlink("a.json", folder.path().join("b.json")).unwrap();
    let path = imported(folder.path(), "vm=a.json 4k-vm=b.json");
    let ids: std::collections::BTreeSet<String> = trials(&path).iter().map(|trial| trial["id"].to_string()).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert!(shown(folder.path(), "report last").contains(CAVEAT));
}

#[test]
fn a_record_that_could_not_be_read_again_is_none() {
    let one = |name: &str, count: usize| json!({"command": name, "times": vec![0.1; count]});
    let many = |names: usize| (1..=names).map(|at| one(&format!("c{at}"), 1)).collect::<Vec<_>>();
    // One of many has so many times that all of them together, planned in as many blocks, are too many.
    let with_long = |names: usize, values: usize| {
        let results = [many(names - 1), vec![one("long", values / names + 1)]].concat();
        json!({"results": results}).to_string()
    };
    let wide = with_long(100, limits::TRIALS);
    let names = json!({"results": many(limits::WORKLOADS + 1)}).to_string();
    let folder = place(&[("wide.json", &wide), ("names.json", &names)]);
    for (file, said) in
        [("wide.json", "a record has at most 500000 trials"), ("names.json", "importing more than 1000 workloads")]
    {
        let (status, out, err) = bench(folder.path(), &format!("import {file}"));
        assert!(status == 2 && out.is_empty() && err.contains(said), "{file}: {status} {out}{err}");
        let left = fs::read_dir(folder.path().join("bench-runs")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{file}");
    }
}

#[test]
fn percentiles_are_borne_by_what_the_deepest_had_in_flight() {
    let deep = replaced(&faster(FIO, 1.0), &[("\"iodepth\":\"4\"", "\"iodepth\":\"1024\"")]);
    let folder = place(&[("a.json", FIO), ("b.json", &deep)]);
    for order in ["a=a.json b=b.json", "b=b.json a=a.json"] {
        let path = imported(folder.path(), order);
        let parameters = &run(&path)["plan"]["workloads"][1]["parameters"];
        assert_eq!((&parameters["iodepth"], &parameters["jobs"]), (&json!("1024"), &json!("2")), "{order}");
        let warnings = run(&path)["warnings"].to_string();
        assert!(warnings.contains("iodepth of measured is "), "{warnings}");
    }
}

#[test]
fn blocks_of_a_workload_have_the_same_options() {
    let limited = IPERF3.replace("\"target_bitrate\":\t0", "\"target_bitrate\":\t80000000");
    assert_ne!(limited, IPERF3);
    let synced = replaced(FIO, &[("\"runtime\" : \"100ms\"", "\"runtime\" : \"100ms\", \"fsync\" : \"1\"")]);
    let folder = place(&[("a.json", IPERF3), ("b.json", &limited), ("c.json", FIO), ("d.json", &synced)]);
    let told = |arguments: &str| {
        let record = run(&imported(folder.path(), arguments));
        let names = record["plan"]["workloads"].as_array().unwrap().iter().map(|one| one["name"].to_string());
        (names.collect::<Vec<_>>().join(" "), record["warnings"].to_string())
    };
    let (names, warnings) = told("a.json b.json a.json");
    assert_eq!(names, "\"tcp-transmit\" \"tcp-transmit-2\"");
    let said = "tcp-transmit-2 is tcp-transmit with other options: target_bitrate is 80000000 (there: not given)";
    assert!(warnings.contains(said), "{warnings}");
    let (names, warnings) = told("c.json d.json");
    assert_eq!(names, "\"warm-up\" \"measured\" \"measured-2\"");
    assert!(
        warnings.contains("measured-2 is measured with other options: fsync is 1 (there: not given)"),
        "{warnings}"
    );
}

#[test]
fn a_name_is_no_path_and_names_take_little_room() {
    let long = "x".repeat(10_000);
    let other = replaced(FIO, &[("\"measured\"", &format!("\"{long}\""))]);
    let folder =
        place(&[("a.json", &other), ("b.json", &faster(&other, 0.5).replace("\"bs\":\"4096\"", "\"bs\":\"8k\""))]);
    for (argument, said) in [
        ("Native=a.json", "`Native` cannot name an environment: a name has 1 to 32 of a-z, 0-9 and -"),
        ("VM_1=a.json", "`VM_1` cannot name an environment"),
    ] {
        let (status, _, err) = bench(folder.path(), &format!("import {argument}"));
        assert!(status == 2 && err.contains(said), "{argument}: {err}");
    }
    let record = run(&imported(folder.path(), "a=a.json b=b.json"));
    let warnings = record["warnings"].as_array().unwrap();
    assert!(!warnings.is_empty() && warnings.iter().all(|one| one.to_string().len() < 300), "{warnings:?}");
}

#[test]
fn imports_with_other_references_are_told_what_to_do() {
    let folder = place(&[("a.json", FIO), ("b.json", &faster(FIO, 0.5))]);
    let [a, b] = ["bare=a.json", "vm=b.json"].map(|word| imported(folder.path(), word).display().to_string());
    let (status, _, err) = bench(folder.path(), &format!("compare {a} {b}"));
    assert!(status == 2 && err.contains("bench import bare=... vm=...") && err.contains("--env bare,vm"), "{err}");
    assert!(!err.contains("--reference"), "{err}");
}

/// What fio and iperf3 print here and now.
#[test]
fn results_of_the_tools_here_are_imported() {
    let folder = place(&[]);
    let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    if !has("fio") {
        eprintln!("skipped: there is no fio");
        return;
    }
    let arguments = "--output-format=normal,json+ --eta=always --status-interval=1 --ioengine=psync --filename=target --size=1M --bs=4k \
                     --time_based --thinktime=1000 --name=x --rw=randread --runtime=1500ms --name=x --stonewall --rw=randwrite \
                     --runtime=1500ms --name=cpu --stonewall --ioengine=cpuio --cpuload=10 --runtime=200ms";
    let output = Command::new("fio").args(arguments.split_whitespace()).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(folder.path().join("fio.out"), &output.stdout).unwrap();
    let path = imported(folder.path(), "fio.out");
    let names: Vec<_> = trials(&path).iter().map(|trial| trial["workload"].to_string()).collect();
    assert_eq!(names, ["\"x\"", "\"x-2\""]);
    let warnings = run(&path)["warnings"].to_string();
    assert!(warnings.contains("interim results") && warnings.contains("the section `cpu` is left out"), "{warnings}");
}
