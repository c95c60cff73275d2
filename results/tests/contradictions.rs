//! Records that contradict themselves: each kind is refused, or denied and not reportable, in words that name what is wrong.

use bench_results::analysis::{Analysis, analyse};
use bench_results::metric::{Direction, Unit};
use bench_results::record::{Accelerator, Break, Capability, Class, LeftOut, State, Trial};
use bench_results::store::{Record, StoreError};
use bench_results::testing::{counted, in_two_turns, record};
use bench_results::{Histogram, validity};

fn honest() -> Record {
    counted(record(1, 3, false))
}

/// As it is read after it was written.
fn read(record: &Record) -> Result<Record, StoreError> {
    let run = serde_json::to_vec(&record.run).unwrap();
    let lines = record.trials.iter().flat_map(|trial| [serde_json::to_vec(trial).unwrap(), b"\n".to_vec()]);
    Record::parse("run".as_ref(), &run, &lines.collect::<Vec<_>>().concat())
}

fn refusal(record: &Record) -> String {
    match read(record) {
        Err(e @ StoreError::Damaged { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    }
}

fn trial<'a>(record: &'a mut Record, id: &str) -> &'a mut Trial {
    record.trials.iter_mut().find(|trial| trial.planned.id == id).unwrap()
}

fn in_plan(record: &mut Record, at: usize, edit: impl Fn(&mut bench_results::record::PlannedTrial)) {
    edit(&mut record.run.plan.trials[at]);
    edit(&mut record.trials[at].planned);
}

fn a_break(block: u32, attempt: u32) -> Break {
    Break {
        block,
        attempt,
        last_trial_at: Some("2026-01-01T00:01:00Z".to_owned()),
        resumed_at: "2026-01-01T00:02:00Z".to_owned(),
        superseded: 1,
        baseline: None,
        settle: None,
    }
}

/// What is edited, and what is said of it.
type Case = (fn(&mut Record), &'static [&'static str]);

#[test]
fn honest_records_are_read_and_nothing_is_said_against_them() {
    let mut resumed = honest();
    let first = Trial { superseded: true, ..resumed.trials[28].clone() };
    resumed.trials.insert(28, first);
    resumed.trials.iter_mut().skip(29).filter(|trial| trial.planned.block == 2).for_each(|trial| trial.attempt = 2);
    resumed.run.breaks.push(a_break(2, 2));
    for record in [honest(), in_two_turns(counted(record(1, 6, true))), record(1, 3, false), resumed] {
        let read = read(&record).unwrap();
        assert!(read.trials.iter().all(Trial::is_valid));
        let reasons = analyse(&read).reportable.reasons;
        assert!(reasons.iter().all(|reason| reason.rule != "consistent"), "{reasons:?}");
    }
}

#[test]
fn a_run_that_contradicts_itself_is_refused() {
    let cases: &[Case] = &[
        (|r| r.run.environments[2].name = "native".into(), &["the environment `native` is listed twice"]),
        (|r| r.run.plan.workloads[1].name = "seq-write".into(), &["the workload `seq-write` is listed twice"]),
        (|r| r.run.plan.reference = "nobody".into(), &["`nobody` is not among the environments"]),
        (|r| r.run.plan.control = Some("nobody".into()), &["the control `nobody` is not among"]),
        (|r| r.run.plan.control = Some("native".into()), &["the control `native` is the reference itself"]),
        (|r| r.run.plan.control = Some("vm".into()), &["the control `vm` is of another kind"]),
        (|r| r.run.environments[3].accelerator = None, &["the guest `vm` has no accelerator"]),
        (|r| r.run.environments[2].accelerator = Some(Accelerator::Kvm), &["`container` is no guest", "KVM"]),
        (|r| r.run.environments[2].class = Some(Class::Vm), &["`container` is of the kind container", "class is vm"]),
        (
            |r| (r.run.environments[2].kind, r.run.environments[2].class) = ("sandbox".into(), None),
            &["`container` is of the unknown kind \"sandbox\""],
        ),
        (
            |r| {
                let container = &mut r.run.environments[2];
                (container.kind, container.class, container.capabilities) = ("vm".into(), None, None);
            },
            &["the guest `container` has no accelerator"],
        ),
        (
            |r| {
                let guest = &mut r.run.environments[3];
                (guest.capabilities, guest.accelerator) = (Some([].into()), None);
            },
            &["the capabilities of `vm` are not those of the class vm"],
        ),
        (
            |r| r.run.environments[2].capabilities = Some([Capability::OwnKernel].into()),
            &["the capabilities of `container` are not those of the class container"],
        ),
        (
            |r| {
                let container = &mut r.run.environments[2];
                (container.kind, container.class, container.capabilities) =
                    ("sandbox".into(), Some(Class::Vm), Some([Capability::OwnKernel].into()));
            },
            &["the capabilities of `container` are not those of the class vm"],
        ),
        (|r| r.run.environments[3].definition = "vm:accel=tcg:cache=none".into(), &["vm:accel=tcg", "accelerator KVM"]),
        (
            |r| drop(r.run.fingerprint.insert("guest.accelerator".into(), "TCG emulation".into())),
            &["fingerprint says `TCG emulation`"],
        ),
        (
            |r| {
                let words = "its own kernel on QEMU (TCG emulation)";
                r.run.environments[3].sameness.insert("isolation".into(), words.into());
            },
            &["the accelerator of `vm` is KVM, and its isolation says TCG emulation"],
        ),
        (
            |r| r.run.left_out.push(LeftOut { environment: "vm".into(), reason: "no QEMU".into() }),
            &["the environment `vm` is there, and was left out"],
        ),
        (
            |r| r.run.plan.workloads[2].environments = vec!["native".into()],
            &["3 trials of `rand-read` are planned in `native-control`, and it is executed in native"],
        ),
        (|r| r.run.plan.workloads[2].environments = vec!["nobody".into()], &["`rand-read`", "`nobody`"]),
        (|r| r.run.plan.workloads[2].environments = vec!["vm".into(), "vm".into()], &["`rand-read`", "`vm` twice"]),
        (
            |r| r.run.environments[3].own_rates_per_s.extend([("udp-rr".to_owned(), 1.0)]),
            &["`udp-rr`, which is no workload"],
        ),
        (|r| in_plan(r, 0, |trial| trial.block = 4), &["planned in block 4 of 3"]),
        (|r| in_plan(r, 0, |trial| trial.block = 0), &["planned in block 0 of 3"]),
        (|r| in_plan(r, 0, |trial| trial.turn = 2), &["planned in turn 2 of 1"]),
        (|r| in_plan(r, 0, |trial| trial.environment = "docker".into()), &["planned in `docker`"]),
        (|r| in_plan(r, 0, |trial| trial.workload = "sort".into()), &["planned of `sort`"]),
        (|r| in_plan(r, 1, |trial| trial.order = 1), &["`seq-write` in block 1, turn 1 have the places [1, 1, 3, 4]"]),
        (|r| in_plan(r, 3, |trial| trial.order = 9), &["the places [1, 2, 3, 9]"]),
        (
            |r| r.run.plan.profile.blocks = 8,
            &["3 trials of `seq-write` are planned in `native`, and the profile has 8"],
        ),
        (|r| r.run.plan.profile.blocks = 2, &["planned in block 3 of 2"]),
        (|r| r.run.plan.profile.turns = 2, &["and the profile has 6"]),
        (|r| drop(r.run.plan.trials.remove(30)), &["2 trials of `seq-write` are planned in `container`"]),
        (|r| r.run.plan.starts = vec![vec!["native".into()]; 3], &["block 1 starts native, and not each"]),
        (
            |r| r.run.plan.starts = vec![["native", "vm", "container", "native-control"].map(String::from).to_vec()],
            &["the environments of 1 blocks, and the profile has 3"],
        ),
        (|r| r.run.breaks.push(a_break(4, 1)), &["it went on with block 4 of 3"]),
    ];
    for (edit, said) in cases {
        let mut record = honest();
        edit(&mut record);
        let error = refusal(&record);
        assert!(error.starts_with("run/run.json: "), "{error}");
        assert!(said.iter().all(|words| error.contains(words)), "{said:?}: {error}");
    }
}

#[test]
fn trials_that_contradict_their_run_are_refused_with_their_line() {
    let cases: &[Case] = &[
        (
            |r| trial(r, "b02-rand-read-vm").accelerator = Some(Accelerator::Tcg),
            &[
                "run/trials.jsonl:40: ",
                "\"b02-rand-read-vm\" is TCG emulation, and that of its environment `vm` is KVM",
            ],
        ),
        (
            |r| trial(r, "b02-rand-read-vm").accelerator = None,
            &[":40: ", "is none, and that of its environment `vm` is KVM"],
        ),
        (|r| r.run.environments[3].accelerator = Some(Accelerator::Tcg), &[":4: ", "is KVM", "`vm` is TCG emulation"]),
        (|r| trial(r, "b01-seq-write-native").accelerator = Some(Accelerator::Kvm), &[":1: ", "`native` is none"]),
        (
            |r| {
                let twin = r.trials[5].measurements[0].clone();
                r.trials[5].measurements.push(twin);
            },
            &[":6: ", "\"b01-seq-read-native-control\" has the metric \"iops\" twice: "],
        ),
        (|r| r.trials[5].measurements[0].better = Direction::Lower, &[":6: ", "has iops in Iops, Lower is better"]),
        (|r| r.trials[5].measurements[0].unit = Unit::Ns, &[":6: ", "has iops in Ns"]),
        (|r| drop(r.run.plan.trials.swap_remove(83)), &["2 trials of `rand-read-qd1`"]),
        (|r| r.trials[3].planned.seed += 1, &[":4: ", "is not as planned"]),
        (
            |r| {
                let twin = r.trials[0].clone();
                r.trials.push(twin);
            },
            &[":85: ", "\"b01-seq-write-native\" is recorded twice"],
        ),
        (|r| r.trials[5].superseded = true, &[":6: ", "superseded without a cause: it was not disturbed"]),
        (
            |r| {
                let again = Trial { execution: 2, ..r.trials[5].clone() };
                r.trials[5].superseded = true;
                r.trials.push(again);
            },
            &[":6: ", "superseded without a cause: it was not disturbed"],
        ),
        (
            |r| {
                // Said to be disturbed, and no figure of it says so.
                let again = Trial { execution: 2, ..r.trials[5].clone() };
                r.trials[5].superseded = true;
                r.trials[5].invalid.push("the hypervisor took time away".into());
                r.trials.push(again);
            },
            &[":6: ", "it was not disturbed"],
        ),
        (
            |r| {
                r.trials[5].facts.insert("host.steal_percent".into(), 20.into());
                validity::apply(&mut r.trials[5], true);
                r.trials[5].superseded = true;
            },
            &[":6: ", "superseded without a cause: nothing took its place"],
        ),
        (|r| r.trials[5].execution = 2, &[":6: ", "is execution 2, and the one before is not recorded"]),
        (|r| r.trials[5].execution = 0, &[":6: ", "is execution 0"]),
        (|r| r.trials[5].attempt = 2, &[":6: ", "is of attempt 2 at its block, and no break says so"]),
        (|r| r.trials[5].attempt = 0, &[":6: ", "is of attempt 0"]),
        (
            |r| {
                r.trials[5].superseded = true;
                r.run.breaks.push(a_break(2, 2));
            },
            &[":6: ", "superseded without a cause"],
        ),
    ];
    for (edit, said) in cases {
        let mut record = honest();
        edit(&mut record);
        let error = refusal(&record);
        assert!(said.iter().all(|words| error.contains(words)), "{said:?}: {error}");
    }
}

const ID: &str = "b02-rand-read-container";

fn set(record: &mut Record, metric: &str, factor: f64) {
    trial(record, ID).measurements.iter_mut().filter(|one| one.metric == metric).for_each(|one| one.value *= factor);
}

fn fact(record: &mut Record, name: &str, factor: f64) {
    let facts = &mut trial(record, ID).facts;
    let value = facts[name].as_f64().unwrap() * factor;
    facts.insert(name.to_owned(), value.into());
}

fn forget(record: &mut Record, names: &[&str]) {
    names.iter().for_each(|name| drop(trial(record, ID).facts.remove(*name)));
}

#[test]
fn a_number_that_its_own_counts_deny_makes_its_trial_invalid_and_the_run_not_reportable() {
    let cases: &[Case] = &[
        (|r| set(r, "iops", 1.5), &["iops is ", "fio.ios "]),
        (|r| set(r, "iops", 0.97), &["iops is ", "fio.ios "]),
        (|r| fact(r, "fio.ios", 1.5), &["iops is ", "fio.ios "]),
        (|r| fact(r, "fio.runtime_s", 0.5), &["iops is ", "fio.ios "]),
        (|r| drop(trial(r, ID).facts.insert("fio.runtime_s".into(), 0.into())), &["in 0 s"]),
        (|r| set(r, "bandwidth_bytes_per_s", 1.5), &["bandwidth_bytes_per_s is ", "fio.bytes "]),
        (|r| fact(r, "fio.bytes", 1.1), &["bandwidth_bytes_per_s is ", "fio.bytes "]),
        (
            |r| {
                // Without fio's counts the values deny each other.
                forget(r, &["fio.ios", "fio.bytes"]);
                set(r, "iops", 1.5);
            },
            &["bandwidth_bytes_per_s is ", "of 4096 bytes"],
        ),
        (
            |r| {
                forget(r, &["fio.bytes", "fio.ios"]);
                set(r, "iops", 1.5);
                set(r, "bandwidth_bytes_per_s", 1.5);
            },
            &["I/Os in flight, and at most 16 can be"],
        ),
        (
            |r| {
                set(r, "iops", 1.5);
                set(r, "bandwidth_bytes_per_s", 1.5);
                ["fio.ios", "fio.bytes", "fio.read_bytes"].iter().for_each(|name| fact(r, name, 1.5));
            },
            &["I/Os in flight"],
        ),
        (
            |r| {
                // Everything but the latencies is made larger, at a depth that is not reached.
                r.run.plan.workloads[2].parameters.insert("jobs".into(), "8".into());
                set(r, "iops", 1.5);
                set(r, "bandwidth_bytes_per_s", 1.5);
                ["fio.ios", "fio.bytes", "fio.read_bytes"].iter().for_each(|name| fact(r, name, 1.5));
                fact(r, "histogram.expected", 1.5);
            },
            &["its histograms hold ", "histogram.expected is "],
        ),
        (|r| fact(r, "fio.read_bytes", 0.5), &["fio.bytes is ", "all jobs of the trial together"]),
        (|r| set(r, "read_latency_p50_ns", 0.7), &["read_latency_p50_ns is ", "its histogram says "]),
        (|r| set(r, "read_latency_p99_ns", 0.5), &["read_latency_p99_ns is "]),
        (|r| set(r, "read_latency_mean_ns", 0.8), &["read_latency_mean_ns is ", "its histogram says "]),
        (|r| set(r, "read_latency_max_ns", 2.0), &["read_latency_max_ns is ", "its histogram says "]),
        (|r| set(r, "read_latency_max_ns", 0.01), &["read_latency_p999_ns is ", "read_latency_max_ns is "]),
        (
            |r| {
                let halved = trial(r, ID).histograms["read"]
                    .bins()
                    .iter()
                    .map(|&(ns, count)| (ns / 2, count))
                    .collect::<Vec<_>>();
                trial(r, ID).histograms.insert("read".into(), Histogram::from_bins(halved));
            },
            &["its histogram says "],
        ),
        (|r| trial(r, ID).elapsed_ns = 1_000_000, &["and the whole trial took 0.001 s"]),
        (
            |r| {
                for (metric, share) in [("read_iops", 0.7), ("write_iops", 0.2)] {
                    let mut one = trial(r, ID).measurements[0].clone();
                    (one.metric, one.value) = (metric.into(), one.value * share);
                    trial(r, ID).measurements.push(one);
                }
            },
            &["read_iops ", "write_iops "],
        ),
    ];
    for (edit, said) in cases {
        let mut record = honest();
        edit(&mut record);
        let read = read(&record).unwrap();
        let denied: Vec<&Trial> = read.trials.iter().filter(|trial| !trial.is_valid()).collect();
        assert!(denied.len() == 1 && denied[0].planned.id == ID, "{said:?}: {denied:?}");
        let why = &denied[0].invalid[0];
        assert!(
            why.starts_with("it contradicts itself: ") && said.iter().all(|one| why.contains(one)),
            "{said:?}: {why}"
        );
        let Analysis { reportable, comparisons, .. } = analyse(&read);
        let text = &reportable.reasons.iter().find(|reason| reason.rule == "consistent").unwrap().text;
        assert!(text.contains(&format!("1 of 84 trials contradict themselves, such as {ID}: ")), "{text}");
        let row =
            comparisons.iter().find(|c| c.deciding && (&*c.workload, &*c.environment) == ("rand-read", "container"));
        assert_eq!(row.unwrap().pairs.len(), 2, "its block is in no number");
    }
}

#[test]
fn how_tools_round_is_no_contradiction() {
    let cases: &[fn(&mut Record)] = &[
        |r| set(r, "iops", 1.004),
        |r| set(r, "bandwidth_bytes_per_s", 0.996),
        |r| set(r, "read_latency_p50_ns", 1.02),
        |r| set(r, "read_latency_mean_ns", 1.02),
        // A value that is not positive has no ratio, and its row says so.
        |r| set(r, "iops", 0.0),
        |r| forget(r, &["fio.ios", "fio.bytes", "fio.runtime_s", "histogram.expected", "histogram.missing"]),
        |r| trial(r, ID).histograms.clear(),
        |r| drop(trial(r, ID).facts.insert("fio.ios".into(), "many".into())),
    ];
    for (at, edit) in cases.iter().enumerate() {
        let mut record = honest();
        edit(&mut record);
        let invalid: Vec<String> =
            read(&record).unwrap().trials.iter().flat_map(|trial| trial.invalid.clone()).collect();
        assert_eq!(invalid, [""; 0], "{at}");
    }
}

#[test]
fn times_that_run_backwards_and_copied_trials_make_a_run_not_reportable() {
    let cases: &[Case] = &[
        (|r| r.run.ended_at = Some("2025-12-31T00:00:00Z".into()), &["the run ended ", "before it was started"]),
        (
            |r| r.run.started_at = "2026-01-01T00:02:00Z".into(),
            &["b01-seq-write-native was started 60 s before the run"],
        ),
        (|r| r.run.ended_at = None, &["the run is complete, and did not end"]),
        (|r| r.trials[7].started_at = "2026-01-01T00:00:30Z".into(), &["was started 30 s before the trial before it"]),
        (|r| r.trials[83].started_at = "2026-01-02T00:00:00Z".into(), &["ended ", " s after the run"]),
        (
            |r| {
                let mut stop = a_break(2, 1);
                stop.resumed_at = "2026-01-01T00:00:30Z".into();
                r.run.breaks.push(stop);
            },
            &["went on 30 s before it was stopped, at block 2"],
        ),
        (
            |r| {
                let (measurements, histograms) = (r.trials[28].measurements.clone(), r.trials[28].histograms.clone());
                let facts = r.trials[28].facts.clone();
                let copy = &mut r.trials[56];
                (copy.measurements, copy.histograms, copy.facts) = (measurements, histograms, facts);
            },
            &["b02-seq-write-native and b03-seq-write-native have the very same values"],
        ),
    ];
    for (edit, said) in cases {
        let mut record = honest();
        edit(&mut record);
        let reasons = analyse(&read(&record).unwrap()).reportable.reasons;
        let text =
            &reasons.iter().find(|reason| reason.rule == "consistent").unwrap_or_else(|| panic!("{said:?}")).text;
        assert!(said.iter().all(|one| text.contains(one)), "{said:?}: {text}");
    }
    for odd in ["yesterday", ""] {
        let mut record = honest();
        record.run.started_at = odd.into();
        assert!(analyse(&read(&record).unwrap()).reportable.reportable, "what is no time is not judged");
    }
}

#[test]
fn a_run_that_was_killed_before_it_executed_a_trial_again_is_read() {
    let mut record = honest();
    record.run.state = State::Running;
    record.trials.truncate(6);
    record.trials[5].facts.insert("host.steal_percent".into(), 20.into());
    validity::apply(&mut record.trials[5], true);
    record.trials[5].superseded = true;
    assert_eq!(read(&record).unwrap().trials.len(), 5);
    record.trials.push(Trial { execution: 2, ..honest().trials[5].clone() });
    assert_eq!(read(&record).unwrap().trials.len(), 6);
}
