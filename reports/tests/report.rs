//! Reports of made-up records: goldens, hostile strings, unfinished and broken runs.
//!
//! `BLESS=1 cargo test -p bench-reports` rewrites the goldens; look at the difference before you commit it.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bench_reports::{Report, write_all, write_page};
use bench_results::analysis::analyse;
use bench_results::record::{Remark, State, Trial};
use bench_results::store::Record;
use bench_results::testing::record;
use support::{HOSTILE, assert_well_formed, golden, measurements};

fn report(record: &Record) -> Report {
    Report::new(record, &analyse(record))
}

fn keep(record: &mut Record, environments: &[&str]) {
    record.run.environments.retain(|environment| environments.contains(&environment.name.as_str()));
    record.run.plan.trials.retain(|trial| environments.contains(&trial.environment.as_str()));
    record.trials.retain(|trial| environments.contains(&trial.planned.environment.as_str()));
    record.run.plan.control = None;
}

fn fail(record: &mut Record, environment: &str) {
    for trial in record.trials.iter_mut().filter(|trial| trial.planned.environment == environment) {
        trial.failure = Some("the guest did not come up within 60 s".to_owned());
        trial.measurements.clear();
        trial.histograms.clear();
    }
}

/// Every kind of run that a report has to bear.
fn variants() -> Vec<(&'static str, Record)> {
    let mut smoke = record(1, 1, true);
    smoke.run.plan.profile.verdicts = false;
    let mut alone = record(1, 4, false);
    keep(&mut alone, &["native"]);
    let mut empty = record(1, 4, false);
    empty.trials.clear();
    empty.run.state = State::Running;
    let mut without_reference = record(1, 3, false);
    fail(&mut without_reference, "native");
    let mut without_guest = record(1, 3, false);
    fail(&mut without_guest, "vm");
    let mut guest_only = record(1, 3, true);
    keep(&mut guest_only, &["vm"]);
    guest_only.run.plan.reference = "vm".to_owned();
    let mut nothing_planned = record(1, 1, false);
    nothing_planned.trials.clear();
    nothing_planned.run.plan.workloads.clear();
    nothing_planned.run.plan.trials.clear();
    vec![
        ("whole", record(1, 8, false)),
        ("emulated", record(1, 4, true)),
        ("smoke", smoke),
        ("alone", alone),
        ("empty", empty),
        ("without reference", without_reference),
        ("without guest", without_guest),
        ("guest only", guest_only),
        ("nothing planned", nothing_planned),
        ("six environments", six_environments()),
        ("hostile", hostile()),
    ]
}

fn six_environments() -> Record {
    let mut record = record(1, 3, false);
    for (name, like) in [("container-nat", "container"), ("vm-with-a-very-long-name-of-an-old-qemu-build", "vm")] {
        let mut environment = record.run.environments.iter().find(|e| e.name == like).unwrap().clone();
        environment.name = name.to_owned();
        record.run.environments.push(environment);
        let mut trials: Vec<_> = record.trials.iter().filter(|t| t.planned.environment == like).cloned().collect();
        for trial in &mut trials {
            trial.planned.environment = name.into();
        }
        record.trials.extend(trials);
    }
    record
}

fn hostile() -> Record {
    let mut record = record(1, 3, true);
    let rename = |name: &mut String| *name = format!("{name}{HOSTILE}");
    for environment in &mut record.run.environments {
        rename(&mut environment.name);
        environment.accelerator_note = Some(HOSTILE.to_owned());
        environment.sameness.insert(HOSTILE.to_owned(), HOSTILE.to_owned());
    }
    for workload in &mut record.run.plan.workloads {
        rename(&mut workload.name);
        rename(&mut workload.title);
    }
    for trial in &mut record.trials {
        let planned = &mut trial.planned;
        for name in [&mut planned.environment, &mut planned.workload, &mut planned.id] {
            name.push_str(HOSTILE);
        }
        if trial.planned.block == 1 {
            trial.invalid.push(HOSTILE.to_owned());
            trial.remarks.push(Remark { check: HOSTILE.to_owned(), text: HOSTILE.to_owned() });
        }
        trial.instance.kernel_release = Some(HOSTILE.into());
    }
    let run = &mut record.run;
    let control = run.plan.control.as_mut().unwrap();
    for name in [&mut run.plan.reference, control, &mut run.plan.suite, &mut run.plan.profile.name, &mut run.id] {
        rename(name);
    }
    run.command.push(HOSTILE.to_owned());
    run.warnings.push(HOSTILE.to_owned());
    run.fingerprint.insert(HOSTILE.to_owned(), HOSTILE.to_owned());
    run.bench.git_revision = Some(HOSTILE.to_owned());
    let (environment, reason) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    run.left_out.push(bench_results::record::LeftOut { environment, reason });
    record
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn terminal_markdown_and_csv_are_as_they_were_looked_at() {
    let kvm = report(&record(1, 4, false));
    golden("kvm.txt", &kvm.terminal(100, false, Some(Path::new("/runs/1/report/index.html"))));
    golden("kvm.md", &kvm.markdown());
    let mut emulated = record(1, 1, true);
    emulated.trials.truncate(8);
    emulated.trials[7].invalid.push("the limit of 1 GiB is not in force".to_owned());
    emulated.run.state = State::Interrupted;
    golden("emulated.csv", &measurements(&emulated));
    let emulated = report(&emulated);
    golden("emulated.txt", &emulated.terminal(80, true, None));
    golden("emulated.md", &emulated.markdown());
}

#[test]
fn every_kind_of_run_has_a_page_that_is_well_formed_and_needs_nothing_else() {
    for (name, record) in variants() {
        let html = report(&record).html().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_well_formed(&html, name);
        assert!(!html.to_lowercase().contains("<script"), "{name}: a script");
        let outside = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!outside.contains("http://") && !outside.contains("https://"), "{name}: loads from elsewhere");
        assert!(html.contains("id=\"answer\""), "{name}: no answer figure");
        assert_eq!(html.matches("<figure ").count(), html.matches("The numbers of this figure").count(), "{name}");
    }
}

#[test]
fn isolation_is_a_matrix_with_its_evidence_and_has_no_empty_tables() {
    let hostile = |environment: &str, _: u32, one: &mut bench_results::record::Observation| {
        if environment == "vm" && one.probe == "kernel-release" {
            one.inside = bench_results::record::Sight::Value(HOSTILE.to_owned());
        }
    };
    let report = report(&bench_results::testing::probed(hostile));
    let page = report.html().unwrap();
    assert_well_formed(&page, "isolation");
    assert!(page.contains("Isolation: whose resource is it?") && page.contains("on the host before: 10; after: 20"));
    assert!(!page.contains("Deciding metric of each workload") && !page.contains("<figure"), "nothing was measured");
    let (markdown, terminal) = (report.markdown(), report.terminal(100, false, None));
    assert!(markdown.contains("| time | shared | shared | shared | separated |"), "{markdown}");
    assert!(terminal.contains("container: ") && terminal.contains("kernel log"), "{terminal}");
    assert!(report.json().unwrap().contains("\"isolation\""));
}

#[test]
fn hostile_strings_stay_text_everywhere() {
    let report = report(&hostile());
    let html = report.html().unwrap();
    assert!(!html.contains("<script") && html.contains("&#60;script&#62;"), "escaped, not lost");
    assert!(
        !html.contains('\u{1b}')
            || !html.split("<svg").skip(1).any(|s| s.split("</svg>").next().unwrap().contains('\u{1b}'))
    );
    let markdown = report.markdown();
    let outside_code: String = markdown.split("```").step_by(2).collect();
    assert!(!outside_code.contains("<script") && !markdown.contains('\u{1b}'));
    let terminal = report.terminal(100, false, None);
    assert!(!terminal.contains('\u{1b}'), "a name must not steer the terminal");
}

#[test]
fn all_files_are_written_and_are_the_same_bytes_each_time() {
    let record = record(3, 3, true);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let written: Vec<Vec<PathBuf>> =
        folders.iter().map(|folder| write_all(&record, &folder.path().join("run/report")).unwrap()).collect();
    assert!(written[0][0].ends_with("index.html"));
    let mut expected: BTreeSet<String> =
        ["index.html", "report.md", "measurements.csv", "comparisons.csv"].map(str::to_owned).into();
    for figure in
        ["answer", "sequential", "random-iops", "latency-cdf", "latency-tail", "latency-percentiles", "cpu-per-io"]
    {
        expected.extend([format!("{figure}.svg"), format!("{figure}.png")]);
    }
    assert_eq!(names(written[0][0].parent().unwrap()), expected, "no temporary file is left");
    for (one, other) in written[0].iter().zip(&written[1]) {
        assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap(), "{} differs", one.display());
        if one.extension().is_some_and(|extension| extension == "svg") {
            assert_well_formed(&std::fs::read_to_string(one).unwrap(), &one.display().to_string());
        }
    }
}

#[test]
fn the_answer_exists_whatever_was_measured() {
    for (name, record) in
        variants().into_iter().filter(|(name, _)| ["alone", "empty", "nothing planned"].contains(name))
    {
        let folder = tempfile::tempdir().unwrap();
        write_all(&record, folder.path()).unwrap();
        let png = std::fs::read(folder.path().join("answer.png")).unwrap();
        assert!(png.starts_with(b"\x89PNG"), "{name}");
    }
}

#[test]
fn a_live_page_says_how_far_the_run_is_and_needs_only_itself() {
    let mut record = record(1, 8, false);
    record.run.state = State::Running;
    record.trials.truncate(2 * 28);
    let folder = tempfile::tempdir().unwrap();
    let page = write_page(&record, folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["index.html".to_owned()].into());
    assert!(std::fs::read_to_string(page).unwrap().contains("block 2 of 8, 56 of 224 trials"));
}

#[test]
fn an_emulated_guest_is_named_so_in_every_line_and_never_judged() {
    let report = report(&record(1, 8, true));
    let guest = |line: &&str| line.split_whitespace().next() == Some("vm");
    let terminal = report.terminal(200, false, None);
    let lines: Vec<&str> = terminal.lines().filter(guest).collect();
    assert!(lines.len() > 7);
    for line in lines {
        assert!(line.contains("vm (TCG emulation)"), "{line}");
        assert!(!line.contains("worse") && !line.contains("better") && !line.contains("equivalent"), "{line}");
    }
    let value: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    assert!(value["results"].as_array().unwrap().iter().all(|row| row["environment"] != "vm (TCG emulation)"));
    let emulated = value["emulated"].as_array().unwrap();
    assert_eq!(emulated.len(), 7);
    assert!(emulated.iter().all(|row| row["verdict"] == "none" && row["paper"].is_null()));
}

#[test]
fn invalid_trials_are_listed_and_in_the_csv_but_in_no_number() {
    let mut broken = record(1, 4, false);
    let clean = measurements(&broken);
    let found = broken.trials.iter_mut().find(|t| t.planned.environment == "vm" && t.planned.workload == "rand-read");
    let trial = found.unwrap();
    let block = trial.planned.block;
    trial.invalid.push("percentiles are not monotone".to_owned());
    for measurement in &mut trial.measurements {
        measurement.value *= 1e6;
    }
    let (report, csv) = (report(&broken), measurements(&broken));
    assert!(report.html().unwrap().contains("percentiles are not monotone"));
    assert_eq!(csv.lines().count(), clean.lines().count());
    assert!(csv.lines().any(|line| line.ends_with(",false,1")));
    let value: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let row =
        value["results"].as_array().unwrap().iter().find(|r| r["workload"] == "rand-read" && r["environment"] == "vm");
    let row = row.unwrap();
    assert_eq!(row["blocks"], 3);
    assert!(row["ratio"].as_f64().unwrap() < 1.0);
    // The reference's mean leaves out the block that the other side lacks.
    let native = |t: &&Trial| t.planned.environment == "native" && t.planned.workload == "rand-read";
    let iops = broken.trials.iter().filter(native).filter(|t| t.planned.block != block);
    let iops: Vec<f64> = iops.map(|t| t.measurements.iter().find(|m| m.metric == "iops").unwrap().value).collect();
    let mean = iops.iter().sum::<f64>() / 3.0;
    assert!((row["reference_mean"].as_f64().unwrap() / mean - 1.0).abs() < 1e-12, "{row} {mean}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    std::fs::write(&file, "").unwrap();
    let error = write_all(&record(1, 1, false), &file.join("x")).unwrap_err();
    assert!(error.to_string().contains("report/x"), "{error}");
}

#[test]
fn a_narrow_terminal_keeps_ratio_and_verdict() {
    let text = report(&six_environments()).terminal(60, false, None);
    let mut below = text.lines().skip_while(|line| *line != "rand-read: IOPS (higher is better)").skip(1);
    let row = below.find(|line| line.starts_with("  container ")).unwrap();
    assert!(row.contains('[') && row.contains("equivalent") && row.chars().count() <= 60, "{row}");
}

#[test]
fn the_first_lines_say_whether_the_run_is_reportable() {
    let quiet = report(&record(1, 8, false));
    let line = |text: String| text.lines().nth(2).unwrap_or_default().to_owned();
    assert!(line(quiet.terminal(200, false, None)).is_empty(), "one line of headline, one of verdict");
    assert!(quiet.terminal(200, false, None).lines().nth(1).unwrap().starts_with("reportable: "));
    let mut noisy = record(1, 8, false);
    noisy.run.baseline.as_mut().unwrap().other_cpu_percent = 40.0;
    let noisy = report(&noisy);
    assert!(
        noisy.terminal(200, false, None).lines().nth(1).unwrap().starts_with("not reportable: before the first block")
    );
    assert!(noisy.markdown().lines().nth(2).unwrap().starts_with("**not reportable: "));
    let html = noisy.html().unwrap();
    let head = &html[..html.find("</header>").unwrap()];
    assert!(head.contains("Not reportable") && head.contains("most of it `sshd`"), "{head}");
    let value: serde_json::Value = serde_json::from_str(&noisy.json().unwrap()).unwrap();
    assert_eq!(
        (&value["reportable"]["reportable"], &value["reportable"]["reasons"][0]["rule"]),
        (&false.into(), &"baseline".into())
    );
}

#[test]
fn every_check_is_shown_with_its_worst_figure_and_remarks_are_told_once() {
    let mut noisy = record(1, 4, false);
    for (at, trial) in noisy.trials.iter_mut().enumerate() {
        trial.facts.insert("fio.depth_reached_percent".into(), (if at == 5 { 91.5 } else { 99.9 }).into());
        trial.facts.insert("host.other_cpu_percent".into(), (if at < 3 { 6 + at } else { 0 }).into());
        if at < 3 {
            trial.planned.environment = "native".into();
            trial.remarks.push(Remark { check: "host.other_cpu_percent".into(), text: format!("others took {at}") });
        }
    }
    let report = report(&noisy);
    let value: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let row =
        |check: &str| value["checks"].as_array().unwrap().iter().find(|row| row["check"] == check).cloned().unwrap();
    let depth = row("fio.depth_reached_percent");
    assert_eq!((&depth["worst_text"], &depth["beyond"], &depth["trials"]), (&"91.5 %".into(), &0.into(), &112.into()));
    assert_eq!(depth["trial"], noisy.trials[5].planned.id.as_str());
    let load = row("host.other_cpu_percent");
    assert_eq!(
        (&load["worst_text"], &load["beyond"], &load["bound"]),
        (&"8 %".into(), &3.into(), &"at most 5 %".into())
    );
    let all = noisy.trials.iter().filter(|trial| trial.planned.environment == "native").count();
    let said = format!("remark: native, 3 of {all} trials, such as: others took 2");
    assert!(report.terminal(200, false, None).contains(&said), "the worst of them");
    assert!(report.html().unwrap().contains("Without a figure in this run: tools.changed, "));
}

/// Half of the container's blocks at half the speed, in one workload.
fn with_two_kinds_of_blocks() -> Record {
    let mut record = record(1, 8, false);
    let slow = |trial: &&mut Trial| {
        let planned = &trial.planned;
        planned.workload == "rand-read" && planned.environment == "container" && [2, 3, 5, 8].contains(&planned.block)
    };
    for trial in record.trials.iter_mut().filter(slow) {
        trial.measurements.iter_mut().filter(|m| m.metric == "iops").for_each(|m| m.value *= 0.5);
    }
    record
}

#[test]
fn two_kinds_of_blocks_are_told_instead_of_their_mean() {
    let record = with_two_kinds_of_blocks();
    let report = report(&record);
    let said = "bimodal: the ratio is near 0.499 in 4 blocks and near 0.994 in 4 blocks";
    assert!(report.terminal(200, false, None).contains(said), "{}", report.terminal(200, false, None));
    assert!(
        report.markdown().contains(said) && report.markdown().contains("| 0.499 or 0.994 |"),
        "{}",
        report.markdown()
    );
    assert!(report.html().unwrap().contains(said));
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let row = json["results"].as_array().unwrap().iter().find(|row| row["workload"] == "rand-read").unwrap();
    assert_eq!(
        (&row["environment"], &row["verdict"], &row["mean"]),
        (&"container".into(), &"none".into(), &serde_json::Value::Null)
    );
    let patterns = json["patterns"].as_array().unwrap();
    assert!(patterns.len() > 40, "all tests are in the JSON: {}", patterns.len());
    for pattern in patterns {
        assert_eq!(pattern["sentence"].is_string(), pattern["notable"] == true, "{pattern}");
    }
    let silent = report_of_nothing_notable();
    assert!(!silent.contains("bimodal") && !silent.contains("drifts"), "{silent}");
}

/// The made-up record drifts by 2 % a block, in all environments alike: only the reference's own drift may be said.
fn report_of_nothing_notable() -> String {
    let mut record = record(1, 8, false);
    for trial in &mut record.trials {
        let drift = 1.0 + 0.02 * f64::from(trial.planned.block);
        bench_results::testing::scale(trial, 1.0 / drift);
    }
    report(&record).markdown()
}
