//! Comparisons of made-up runs in every form: goldens, schemas, hostile strings.
//!
//! `BLESS=1 cargo test -p bench-reports` rewrites the goldens; look at the difference before you commit it.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bench_reports::CompareReport;
use bench_results::compare::{Judgement, Outcome, Sides, compare};
use bench_results::policy::{KnownNames, Policy};
use bench_results::record::State;
use bench_results::store::Record;
use bench_results::testing::{another, record, speed_up};
use jiff::civil::Date;
use support::{HOSTILE, assert_well_formed, golden};

const NONE: BTreeSet<bench_results::compare::Aspect> = BTreeSet::new();

/// A policy with everything in it.
const POLICY: &str = r#"
fail-on = ["worse", "better"]
on-inconclusive = "fail"

[[metric]]
name = "read_latency_p99_ns"
workloads = ["rand-read"]
decides = true
margin = "20%"

[[ignore]]
workload = "seq-write"
environment = "container"
reason = "the runner's disk is being replaced"
until = 2026-12-31
"#;

fn policy() -> Policy {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let known = KnownNames { workloads: names(&["rand-read", "seq-write"]), environments: names(&["container"]) };
    Policy::parse(POLICY, "gate.toml", &known, Date::constant(2026, 1, 1)).unwrap()
}

/// Both sides of a comparison in which everything happens.
fn sides() -> ([Record; 1], [Record; 1]) {
    let (base, mut new) = (record(1, 6, false), another(2, 6, false));
    speed_up(&mut new, "rand-read", "container", 0.8);
    speed_up(&mut new, "seq-read", "vm", 1.3);
    new.run.plan.workloads.retain(|workload| workload.name != "rand-write");
    new.run.state = State::Interrupted;
    for trial in new.trials.iter_mut().filter(|t| t.planned.workload == "rand-mixed" && t.planned.environment == "vm") {
        trial.failure = Some("the guest did not come up".to_owned());
    }
    ([base], [new])
}

/// NEW has no trial that succeeded.
fn failed() -> ([Record; 1], [Record; 1]) {
    let (base, mut new) = (record(1, 4, false), another(2, 4, false));
    new.trials.iter_mut().for_each(|trial| trial.failure = Some("CMD exited with 1".to_owned()));
    ([base], [new])
}

fn hostile() -> ([Record; 1], [Record; 1]) {
    let (mut base, mut new) = sides();
    new[0].trials.iter_mut().filter_map(|trial| trial.failure.as_mut()).for_each(|why| why.insert_str(0, HOSTILE));
    for run in [&mut base[0], &mut new[0]] {
        run.run.id.push_str(HOSTILE);
        run.run.plan.suite.push_str(HOSTILE);
        run.notes.push(HOSTILE.to_owned());
        for workload in &mut run.run.plan.workloads {
            workload.name.push_str(HOSTILE);
        }
        for trial in &mut run.trials {
            trial.planned.workload.push_str(HOSTILE);
        }
    }
    (base, new)
}

fn with<T>((base, new): &([Record; 1], [Record; 1]), show: impl FnOnce(&Judgement, CompareReport<'_>) -> T) -> T {
    let sides = Sides::Runs { base, new, allowed: &NONE };
    let judgement = compare(sides, &policy(), Some("gate.toml")).unwrap();
    show(&judgement, CompareReport::new(&judgement, sides))
}

#[test]
fn every_form_is_as_it_was_looked_at() {
    with(&sides(), |_, report| {
        golden("compare.txt", &report.terminal(120, false, Some(Path::new("/gate/index.html"))));
        golden("compare.md", &report.markdown());
        golden("compare.xml", &report.junit().unwrap());
        golden("compare.annotations", &report.annotations());
    });
    let (mut base, mut new) = (record(1, 3, false), another(2, 3, false));
    for run in [&mut base, &mut new] {
        run.run.plan.workloads.retain(|workload| workload.name == "rand-read");
        run.run.environments.retain(|environment| ["native", "container"].contains(&environment.name.as_str()));
        run.trials.iter_mut().for_each(|trial| trial.measurements.truncate(2));
    }
    with(&([base], [new]), |_, report| golden("compare.json", &report.json().unwrap()));
    let (_, new) = sides();
    let sides = Sides::Environments { runs: &new, base: "native", new: "container" };
    let judgement = compare(sides, &Policy::default(), None).unwrap();
    golden("compare-paired.txt", &CompareReport::new(&judgement, sides).terminal(100, true, None));
}

#[test]
fn all_forms_say_that_it_fails_where_nothing_could_be_measured() {
    with(&failed(), |judgement, report| {
        assert_eq!(judgement.outcome, Outcome::Incomparable);
        let said = "no row has valid values on both sides";
        assert!(report.terminal(100, false, None).starts_with(&format!("cannot compare: {said}")));
        assert!(report.markdown().contains(&format!("## bench compare cannot compare\n\n**{said}**")));
        assert!(report.html().unwrap().contains(&format!(">cannot compare</span>: {said}")));
        assert!(report.json().unwrap().contains("\"outcome\": \"incomparable\""));
        let junit = report.junit().unwrap();
        assert!(junit.contains("tests=\"17\" failures=\"0\" errors=\"16\" skipped=\"1\""), "{junit}");
        assert!(
            junit
                .contains("<error type=\"broken\" message=\"broken: no valid block in NEW: 4 of 4 trials in vm failed")
        );
        let annotations = report.annotations();
        assert_eq!(annotations.matches("::error ").count(), 16, "{annotations}");
        assert!(annotations.starts_with("::error title=bench compare cannot compare::"), "{annotations}");
    });
    // Of a lone reference no row decides.
    let alone = |mut record: Record| {
        record.run.environments.retain(|environment| environment.name == "native");
        record
    };
    let ([base], [new]) = failed();
    with(&([alone(base)], [alone(new)]), |_, report| {
        assert!(report.junit().unwrap().contains("tests=\"1\" failures=\"0\" errors=\"1\""));
        assert!(report.html().unwrap().contains("cannot compare"));
    });
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    for (name, sides) in [
        ("sides", sides()),
        ("hostile", hostile()),
        ("few", ([record(1, 1, true)], [another(2, 2, true)])),
        ("failed", failed()),
    ] {
        with(&sides, |_, report| {
            let html = report.html().unwrap();
            assert_well_formed(&html, name);
            assert!(!html.to_lowercase().contains("<script"), "{name}: a script");
            let outside = html.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("http://") && !outside.contains("https://"), "{name}: loads from elsewhere");
            assert!(html.contains("id=\"change\"") && html.contains("id=\"sides\""), "{name}: a figure is missing");
        });
    }
}

#[test]
fn hostile_strings_stay_text_everywhere() {
    with(&hostile(), |_, report| {
        assert!(!report.terminal(100, false, None).contains('\u{1b}'));
        let markdown = report.markdown();
        assert!(!markdown.contains("<script") && !markdown.contains('\u{1b}'));
        assert_eq!(markdown.lines().next().unwrap().matches("-->").count(), 1, "the marker ends where it should");
        assert!(report.annotations().lines().all(|line| line.starts_with("::")), "no line of its own");
    });
}

#[test]
fn markdown_fits_a_comment_and_the_worst_comes_first() {
    let (mut base, mut new) = (record(1, 3, false), another(2, 3, false));
    for run in [&mut base, &mut new] {
        let workloads = run.run.plan.workloads.clone();
        let trials = run.trials.clone();
        for copy in 0..40 {
            let name = |name: &str| format!("{name}-with-a-long-name-{copy}");
            run.run.plan.workloads.extend(workloads.iter().cloned().map(|mut workload| {
                workload.name = name(&workload.name);
                workload
            }));
            run.trials.extend(trials.iter().cloned().map(|mut trial| {
                trial.planned.workload = name(&trial.planned.workload).into();
                trial
            }));
        }
    }
    speed_up(&mut new, "rand-read-with-a-long-name-7", "vm", 0.5);
    new.notes = (0..400).map(|number| format!("{number} of many notes, each of which is a long one")).collect();
    with(&([base], [new]), |judgement, report| {
        let markdown = report.markdown();
        assert!((50_000..61_000).contains(&markdown.len()), "{} bytes", markdown.len());
        assert!(markdown.contains(" more in the report."), "and says what is left out");
        assert!(judgement.rows[0].workload.ends_with("-7"));
        let first = markdown.lines().find(|line| line.starts_with("| rand") || line.starts_with("| seq")).unwrap();
        assert!(first.contains("rand-read-with-a-long-name-7"), "{first}");
        assert!(markdown.contains("<details>") && markdown.trim_end().ends_with("</details>"));
    });
}

#[test]
fn junit_fits_its_schema() {
    if Command::new("xmllint").arg("--version").output().is_err() {
        eprintln!("skipped: there is no xmllint (package libxml2-utils), which `make test` installs");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("junit.xml");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/junit.xsd");
    let validated = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let output = Command::new("xmllint").arg("--noout").arg("--schema").args([&schema, &path]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for sides in [sides(), hostile(), failed(), ([record(1, 2, false)], [another(2, 1, false)])] {
        with(&sides, |_, report| {
            let text = report.junit().unwrap();
            let (is_valid, said) = validated(&text);
            assert!(is_valid, "{said}");
            assert!(!validated(&text.replacen("<testcase ", "<test ", 1)).0, "the schema can fail");
        });
    }
}

#[test]
fn json_fits_its_schema() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/schema/compare.schema.json");
    let schema: serde_json::Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for sides in [sides(), hostile(), failed(), ([record(1, 1, true)], [another(2, 2, true)])] {
        let value: serde_json::Value = with(&sides, |_, report| serde_json::from_str(&report.json().unwrap()).unwrap());
        let wrong: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let mut broken = value;
        broken["rows"][0]["margin"] = "5%".into();
        assert!(!validator.is_valid(&broken), "the schema can fail");
    }
}

#[test]
fn all_files_are_written_and_are_the_same_bytes_each_time() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let written = folders.each_ref().map(|folder| with(&sides(), |_, report| report.write_all(folder.path()).unwrap()));
    let names: Vec<&str> = written[0].iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "index.html",
            "compare.md",
            "compare.json",
            "junit.xml",
            "change.svg",
            "change.png",
            "sides.svg",
            "sides.png",
            "histograms.svg",
            "histograms.png"
        ]
    );
    for (one, other) in written[0].iter().zip(&written[1]) {
        assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap(), "{} differs", one.display());
    }
}
