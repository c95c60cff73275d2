//! A record as it is written, read back, damaged, and analysed.

use std::fs;
use std::io::Write;
use std::path::Path;

use bench_results::Histogram;
use bench_results::analysis::{Comparison, analyse};
use bench_results::claims::Outcome;
use bench_results::percentiles::Recorded;
use bench_results::record::{Capability, Class, PlannedTrial, State, Trial};
use bench_results::store::{Record, RunFolder, StoreError, find_run, list_runs};
use bench_results::testing;
use bench_results::validity;
use bench_results::values::Values;
use bench_results::verdict::Verdict;

fn write(parent: &Path, record: &Record) {
    let mut folder = RunFolder::create(parent, &record.run).unwrap();
    for trial in &record.trials {
        folder.append_trial(trial).unwrap();
    }
}

fn find<'a>(comparisons: &'a [Comparison], workload: &str, environment: &str) -> &'a Comparison {
    let found = comparisons.iter().find(|c| c.deciding && c.workload == workload && c.environment == environment);
    found.unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let parent = tempfile::tempdir().unwrap();
    let record = testing::record(1, 2, false);
    write(parent.path(), &record);
    let path = find_run(parent.path(), "last").unwrap();
    let read = Record::load(&path).unwrap();
    assert_eq!((read.run, read.trials, read.notes.len()), (record.run.clone(), record.trials, 0));
    assert_eq!(find_run(parent.path(), "20260101").unwrap(), path);
    assert_eq!(list_runs(parent.path()).unwrap()[0].state, "complete");
    assert!(matches!(find_run(parent.path(), "1999"), Err(StoreError::Unknown { .. })));
}

#[test]
fn of_runs_of_one_second_the_last_is_the_one_written_last() {
    let parent = tempfile::tempdir().unwrap();
    let mut record = testing::record(1, 1, false);
    let ids = ["20260102T000000Z-io-000001", "20260102T000000Z-io-000003", "20260102T000000Z-io-000002"];
    for id in ["20260101T000000Z-io-000009"].into_iter().chain(ids) {
        record.run.id = id.into();
        write(parent.path(), &record);
        assert!(find_run(parent.path(), "last").unwrap().ends_with(id));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn an_ambiguous_name_lists_the_candidates() {
    let parent = tempfile::tempdir().unwrap();
    let mut record = testing::record(1, 1, false);
    write(parent.path(), &record);
    record.run.id = "20260102T000000Z-io-demo00".into();
    write(parent.path(), &record);
    let error = find_run(parent.path(), "2026").unwrap_err().to_string();
    assert!(error.contains("20260101T000000Z-io-demo00, 20260102T000000Z-io-demo00"), "{error}");
}

#[test]
fn a_torn_last_line_is_tolerated_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let record = testing::record(1, 1, false);
    write(parent.path(), &record);
    let path = parent.path().join(&record.run.id);
    let trials = path.join("trials.jsonl");
    let whole = fs::read_to_string(&trials).unwrap();

    fs::write(&trials, &whole[..whole.len() - 40]).unwrap();
    let read = Record::load(&path).unwrap();
    assert_eq!(read.trials.len(), record.trials.len() - 1);
    assert!(read.notes[0].contains("last trial"));

    // Also within a character.
    fs::write(&trials, [whole.as_bytes(), b"{\"id\":\"b01-\xc3"].concat()).unwrap();
    assert_eq!(Record::load(&path).unwrap().trials.len(), record.trials.len());

    fs::write(&trials, whole.replacen("\"block\":1", "\"block\":\"one\"", 1)).unwrap();
    let error = Record::load(&path).unwrap_err().to_string();
    assert!(error.contains("trials.jsonl:1") && error.contains("damaged"), "{error}");

    for (from, to) in [("b01-seq-write-native", "../../etc/passwd"), ("\"turn\":1", "\"turn\":2")] {
        fs::write(&trials, whole.replacen(from, to, 1)).unwrap();
        assert!(Record::load(&path).unwrap_err().to_string().contains("not as planned"), "{to}");
    }
}

#[test]
fn what_is_no_record_is_said_to_be_none() {
    let parent = tempfile::tempdir().unwrap();
    assert!(matches!(Record::load(parent.path()), Err(StoreError::NotARun(_))));
    let mut file = fs::File::create(parent.path().join("run.json")).unwrap();
    file.write_all(b"{\"schema_version\": 99, \"all\": \"new\"}").unwrap();
    assert!(matches!(Record::load(parent.path()), Err(StoreError::Newer { found: 99, .. })));
    for damage in ["", "{", "[]", "{\"schema_version\": 1}", "\u{0}\u{1}"] {
        fs::write(parent.path().join("run.json"), damage).unwrap();
        assert!(matches!(Record::load(parent.path()), Err(StoreError::Damaged { .. })), "{damage:?}");
    }
}

#[test]
fn names_that_would_leave_the_folder_and_plans_that_cannot_be_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    for break_it in [
        |record: &mut Record| record.run.plan.trials[0].id = "../x".into(),
        |record: &mut Record| record.run.environments[1].name = "a/b".into(),
        |record: &mut Record| record.run.plan.workloads[0].name = String::new(),
        |record: &mut Record| record.run.plan.reference = "nobody".into(),
        |record: &mut Record| record.run.plan.profile.margin = 0.0,
        |record: &mut Record| record.run.plan.profile.turns = 0,
        // The second would count twice in its block.
        |record: &mut Record| {
            let twin = PlannedTrial { id: "twin".into(), ..record.run.plan.trials[0].clone() };
            record.run.plan.trials.push(twin);
        },
    ] {
        let mut record = testing::record(1, 1, false);
        break_it(&mut record);
        let folder = parent.path().join("run");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("run.json"), serde_json::to_vec(&record.run).unwrap()).unwrap();
        assert!(matches!(Record::load(&folder), Err(StoreError::Damaged { .. })));
    }
}

#[test]
fn a_killed_run_is_read_as_far_as_it_came() {
    let parent = tempfile::tempdir().unwrap();
    let mut record = testing::record(1, 3, false);
    record.run.state = State::Running;
    record.trials.truncate(30);
    write(parent.path(), &record);
    let read = Record::load(&parent.path().join(&record.run.id)).unwrap();
    assert!(read.notes[0].contains("30 of 84 trials"), "{:?}", read.notes);
    assert_eq!(read.blocks_begun(), 2);
}

#[test]
fn a_slow_guest_is_worse_and_a_container_is_equivalent() {
    let record = testing::record(1, 8, false);
    let analysis = analyse(&record);
    let vm = find(&analysis.comparisons, "rand-read", "vm");
    assert_eq!(vm.verdict, Some(Verdict::Worse));
    assert!((vm.ratio.unwrap() - 0.71).abs() < 0.02, "{:?}", vm.ratio);
    assert_eq!(vm.pairs.len(), 8);
    assert!(vm.noise_floor.is_some() && vm.paper_ratio.is_some());
    let container = find(&analysis.comparisons, "rand-read", "container");
    assert_eq!(container.verdict, Some(Verdict::Equivalent));
    // Lower is better at depth 1, and the guest takes longer.
    assert_eq!(find(&analysis.comparisons, "rand-read-qd1", "vm").verdict, Some(Verdict::Worse));
    assert!(analysis.headline.contains("container: no measurable cost in 7 of 7 workloads"), "{}", analysis.headline);
    assert!(analysis.headline.contains("VM: 20 to 59 % slower in 5 of 7"), "{}", analysis.headline);
    let claim = |id: &str| &analysis.claims.iter().find(|claim| claim.id == id).unwrap().outcome;
    assert_eq!(*claim("random-io-container"), Outcome::Holds);
    assert_eq!(*claim("random-io-vm"), Outcome::DoesNotHold);
    assert_eq!(*claim("sequential-vm"), Outcome::Holds);
    assert_eq!(*claim("guest-memory"), Outcome::Holds);
    assert_eq!(*claim("whose-kernel"), Outcome::Holds);
}

#[test]
fn an_emulated_guest_is_never_judged() {
    let analysis = analyse(&testing::record(1, 8, true));
    assert!(analysis.comparisons.iter().filter(|c| c.environment == "vm").all(|c| c.verdict.is_none() && c.emulated));
    assert!(analysis.headline.contains("VM: not judged (TCG emulation"), "{}", analysis.headline);
    for claim in analysis.claims.iter().filter(|claim| claim.id.ends_with("vm") || claim.id == "guest-memory") {
        assert_eq!(claim.outcome, Outcome::NotTested("guest was emulated".into()), "{}", claim.id);
    }
}

#[test]
fn what_costs_more_cpu_is_not_called_slower() {
    let mut record = testing::record(1, 8, false);
    let workload = record.run.plan.workloads.iter_mut().find(|workload| workload.name == "rand-read").unwrap();
    workload.deciding = "machine_cpu_ns_per_io".into();
    let headline = analyse(&record).headline;
    assert!(headline.contains("VM: 20 to 59 % worse in 5 of 7"), "{headline}");
}

#[test]
fn a_claim_about_both_kinds_needs_both() {
    for (kind, why) in [("vm", "no vm in this run"), ("container", "no container in this run")] {
        let mut record = testing::record(1, 8, false);
        record.trials.retain(|trial| trial.planned.environment != kind);
        let claims = analyse(&record).claims;
        let claim = claims.iter().find(|claim| claim.id == "whose-kernel").unwrap();
        assert_eq!(claim.outcome, Outcome::NotTested(why.into()));
    }
}

#[test]
fn claims_about_docker_are_judged_with_docker_where_it_takes_part() {
    let claim = |record: &Record| {
        let claims = analyse(record).claims;
        claims.into_iter().find(|claim| claim.id == "random-io-container").unwrap()
    };
    let mut record = testing::record(1, 8, false);
    let own = claim(&record);
    assert!(own.evidence.contains("tested with bench's own container"), "{}", own.evidence);
    // The slow one is Docker's now, beside bench's own, which is not.
    let mut slow = record.run.environments.remove(3);
    assert_eq!(slow.name, "vm");
    (slow.kind, slow.accelerator) = ("docker".into(), None);
    slow.sameness.insert("isolation".into(), "Docker 20.10, overlay2".into());
    record.run.environments.push(slow.of_class(Class::Container, &[Capability::Docker]));
    let dockers = claim(&record);
    assert_eq!((&own.outcome, &dockers.outcome), (&Outcome::Holds, &Outcome::DoesNotHold));
    assert!(
        dockers.evidence.ends_with("tested with Docker itself, as `vm`: Docker 20.10, overlay2"),
        "{}",
        dockers.evidence
    );
}

#[test]
fn too_few_blocks_and_a_smoke_run_give_no_verdict() {
    let analysis = analyse(&testing::record(1, 2, false));
    assert!(analysis.comparisons.iter().all(|c| c.verdict.is_none()));
    let mut record = testing::record(1, 8, false);
    record.run.plan.profile.verdicts = false;
    let analysis = analyse(&record);
    assert!(analysis.comparisons.iter().all(|c| c.verdict.is_none() && c.why_no_verdict.is_some()));
    assert!(analysis.headline.contains("judges nothing"));
}

#[test]
fn an_invalid_trial_is_never_averaged_in() {
    let mut record = testing::record(1, 8, false);
    for trial in &mut record.trials {
        if trial.planned.block == 2 && trial.planned.environment == "vm" {
            trial.invalid.push("a limit was not in force".into());
            trial.measurements[0].value *= 1000.0;
        }
    }
    let analysis = analyse(&record);
    assert_eq!(find(&analysis.comparisons, "rand-read", "vm").pairs.len(), 7);
    assert_eq!(analysis.broken.len(), 7);
    assert!(analysis.cells.iter().all(|cell| cell.environment != "vm" || cell.values.len() == 7));
}

#[test]
fn a_blocks_value_is_one_over_its_turns_and_none_may_be_missing() {
    let all = testing::record(1, 8, false);
    let values = |record: &Record| Values::of(record).get("rand-read", "vm", "iops").to_vec();
    let (single, mut record) = (values(&all), testing::in_two_turns(all));
    let mean = |block: usize| (single[2 * block - 2].1 * single[2 * block - 1].1).sqrt();
    let expected: Vec<_> = (1..=4).map(|block| (block as u32, mean(block))).collect();
    let near = |found: &[(u32, f64)], expected: &[(u32, f64)]| {
        let same = |(a, b): (&(u32, f64), &(u32, f64))| a.0 == b.0 && (a.1 / b.1 - 1.0).abs() < 1e-12;
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(same), "{found:?} {expected:?}");
    };
    near(&values(&record), &expected);
    let p99 = Values::of(&record).get("rand-read", "vm", "read_latency_p99_ns")[0].1;
    let its = |trial: &&Trial| trial.planned.block == 1 && trial.planned.id.ends_with("-rand-read-vm");
    let bins = record.trials.iter().filter(its).flat_map(|trial| trial.histograms["read"].bins().iter().copied());
    let recorded = Recorded::of(&record.run.plan.workloads[2].parameters, "read");
    assert_eq!(Some(p99), recorded.percentile_ns(&Histogram::from_bins(bins), 0.99));
    assert_eq!(find(&analyse(&record).comparisons, "rand-read", "vm").pairs.len(), 4);
    let of_second = |trial: &&mut Trial| (trial.planned.block, trial.planned.turn) == (2, 1);
    record.trials.iter_mut().filter(of_second).for_each(|trial| trial.invalid.push("a limit was not in force".into()));
    near(&values(&record), &[&expected[..1], &expected[2..]].concat());
}

#[test]
fn a_disturbed_trial_counts_as_it_was_executed_last() {
    let record = testing::record(1, 1, false);
    let stands = Trial { execution: 2, ..record.trials[0].clone() };
    let mut disturbed = Trial { superseded: true, ..record.trials[0].clone() };
    disturbed.facts.insert("host.steal_percent".into(), 16.3.into());
    validity::apply(&mut disturbed, true);
    let read = |trials: &[&Trial]| {
        let parent = tempfile::tempdir().unwrap();
        write(
            parent.path(),
            &Record { trials: trials.iter().map(|trial| (*trial).clone()).collect(), ..record.clone() },
        );
        Record::load(&find_run(parent.path(), "last").unwrap())
    };
    let whole = read(&[&disturbed, &stands]).unwrap();
    assert_eq!(whole.trials, std::slice::from_ref(&stands));
    let said =
        "trials that were disturbed and executed again: 1 of native (the worst: the hypervisor beneath took 16.3 %";
    assert!(whole.notes.iter().any(|note| note.starts_with(said)), "{:?}", whole.notes);
    let killed = read(&[&disturbed]).unwrap();
    assert_eq!((killed.trials.len(), killed.notes.len()), (0, 0), "killed before it was executed again");
    let refused = read(&[&stands, &disturbed]).unwrap_err().to_string();
    assert!(refused.contains("recorded twice"), "what takes its place comes after it: {refused}");
}

#[test]
fn a_percentile_that_is_shown_comes_from_the_merged_histogram() {
    let analysis = analyse(&testing::record(1, 4, false));
    let cell = analysis
        .cells
        .iter()
        .find(|c| c.workload == "rand-read" && c.environment == "vm" && c.metric == "read_latency_p99_ns");
    let distribution =
        analysis.distributions.iter().find(|d| d.workload == "rand-read" && d.environment == "vm").unwrap();
    assert_eq!(cell.unwrap().shown, distribution.percentile_ns(0.99).unwrap());
}

#[test]
fn an_inconclusive_row_says_what_would_decide() {
    let mut record = testing::record(1, 4, false);
    record.run.plan.profile.margin = 0.004;
    let analysis = analyse(&record);
    let open: Vec<_> = analysis.comparisons.iter().filter(|c| c.verdict == Some(Verdict::Inconclusive)).collect();
    assert!(
        open.iter().any(|c| c.sentence.contains("blocks would see ± 0.4 % in 95 % of runs (--blocks ")),
        "{:?}",
        open.iter().map(|c| &c.sentence).collect::<Vec<_>>()
    );
}

#[test]
fn an_empty_run_is_analysed_without_a_word_too_much() {
    let mut record = testing::record(1, 2, false);
    record.trials.clear();
    let analysis = analyse(&record);
    assert!(analysis.comparisons.is_empty() && analysis.cells.is_empty());
    assert!(analysis.headline.contains("too few blocks"), "{}", analysis.headline);
}

/// A record of before percentiles were interpolated, and of before stalls were counted: it is read as it is, and shown by today's rule.
#[test]
fn percentiles_that_were_recorded_by_another_rule_are_made_anew_from_the_histograms() {
    let mut record = testing::record(1, 4, false);
    let recorded = |record: &Record| analyse(record).cells;
    let expected = recorded(&record);
    for measurement in record.trials.iter_mut().flat_map(|trial| &mut trial.measurements) {
        if measurement.metric.contains("_latency_p") {
            measurement.value = (measurement.value * 1.01).round();
        }
    }
    assert_eq!(recorded(&record), expected);
    let has_p99 = |record: &Record| Values::of(record).get("rand-read", "vm", "read_latency_p99_ns").len();
    assert_eq!(has_p99(&record), 4);
    // Ten times as deep, the same I/Os may be those of too few stalls.
    for workload in &mut record.run.plan.workloads {
        workload.parameters.insert("jobs".to_owned(), "10".to_owned());
    }
    assert_eq!(has_p99(&record), 0, "whatever was recorded");
    // Without a histogram there is only what was recorded.
    record.trials.iter_mut().for_each(|trial| trial.histograms.clear());
    assert_eq!(has_p99(&record), 4);
}
