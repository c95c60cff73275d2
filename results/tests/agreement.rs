//! `report` and `compare --env` say the same of whatever record both accept, and both refuse the same ones.

use bench_results::store::Record;
use bench_results::testing::{counted, disagreement, in_two_turns, record};
use proptest::prelude::*;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde_json::{Value, json};

/// Workloads that are kept: every metric of two is as good as that of seven.
const KEPT: [&str; 2] = ["rand-read", "rand-read-qd1"];

/// A valid record as JSON: `run.json` and the lines of `trials.jsonl`.
struct Written {
    run: Value,
    trials: Vec<Value>,
}

impl Written {
    fn of(mut record: Record) -> Written {
        record.run.plan.workloads.retain(|one| KEPT.contains(&one.name.as_str()));
        record.run.plan.trials.retain(|one| KEPT.contains(&one.workload.as_str()));
        record.trials.retain(|one| KEPT.contains(&one.planned.workload.as_str()));
        let trials = record.trials.iter().map(|trial| serde_json::to_value(trial).unwrap());
        Written { run: serde_json::to_value(&record.run).unwrap(), trials: trials.collect() }
    }

    fn read(&self) -> Option<Record> {
        let lines: Vec<String> = self.trials.iter().map(|trial| format!("{trial}\n")).collect();
        Record::parse("run".as_ref(), self.run.to_string().as_bytes(), lines.concat().as_bytes()).ok()
    }

    /// Change something as a hand, a fault or an attacker might.
    fn mutate(&mut self, rng: &mut ChaCha12Rng) {
        let at = rng.random_range(0..self.trials.len().max(1));
        match rng.random_range(0..12) {
            0 => self.scale_side(rng),
            1 => self.edit(at, "/measurements", |list| {
                for one in list.as_array_mut().into_iter().flatten() {
                    one["value"] = json!(one["value"].as_f64().unwrap_or(1.0) * 0.9);
                }
            }),
            2 => {
                let value = *[0.0, -1.0, 1e-300, 1e300, 1.0].choose(rng).unwrap();
                self.edit(at, "/measurements/0/value", |found| *found = json!(value));
            }
            3 => self.edit(at, "/invalid", |list| *list = json!(["so it is"])),
            4 => self.edit(at, "/failure", |why| *why = json!("it failed")),
            5 if !self.trials.is_empty() => drop(self.trials.remove(at)),
            6 => self.trials.truncate(at),
            7 => {
                let metric = *["iops", "read_latency_p99_ns", "cpu_ns_per_io", "wall_time_ns"].choose(rng).unwrap();
                let of = rng.random_range(0..KEPT.len());
                self.run["plan"]["workloads"][of]["deciding"] = json!(metric);
            }
            8 => self.run["plan"]["profile"]["margin"] = json!(rng.random_range(0.001..0.5)),
            9 => {
                let name = *["native", "native-control", "container", "vm"].choose(rng).unwrap();
                self.run["plan"]["control"] = json!(null);
                self.run["plan"]["reference"] = json!(name);
            }
            10 => self.run["plan"]["profile"]["verdicts"] = json!(false),
            _ => self.anything(rng),
        }
    }

    /// One side of a comparison becomes slower, in all of its blocks or in every other one.
    fn scale_side(&mut self, rng: &mut ChaCha12Rng) {
        let (workload, environment) = (*KEPT.choose(rng).unwrap(), *["native", "container", "vm"].choose(rng).unwrap());
        let (factor, step) = (rng.random_range(0.5..1.5), rng.random_range(1..3));
        let is_there = |trial: &Value| trial["workload"] == workload && trial["environment"] == environment;
        for trial in self.trials.iter_mut().filter(|trial| is_there(trial)).step_by(step) {
            for one in trial["measurements"].as_array_mut().into_iter().flatten() {
                let factor = if one["better"] == "higher" { factor } else { 1.0 / factor };
                one["value"] = json!(one["value"].as_f64().unwrap_or(1.0) * factor);
            }
        }
    }

    fn edit(&mut self, at: usize, pointer: &str, edit: impl FnOnce(&mut Value)) {
        if let Some(found) = self.trials.get_mut(at).and_then(|trial| trial.pointer_mut(pointer)) {
            edit(found);
        }
    }

    /// Any value of the record becomes another one.
    fn anything(&mut self, rng: &mut ChaCha12Rng) {
        let at = rng.random_range(0..self.trials.len().max(1));
        let whole = match self.trials.get_mut(at) {
            Some(trial) if rng.random_bool(0.5) => trial,
            _ => &mut self.run,
        };
        let mut pointers = Vec::new();
        leaves(whole, "", &mut pointers);
        let (Some(from), Some(to)) = (pointers.choose(rng), pointers.choose(rng)) else { return };
        let other = whole.pointer(from).cloned().unwrap_or_default();
        let number = whole.pointer(to).and_then(Value::as_f64);
        let new = match (rng.random_range(0..5), number) {
            (0, _) => other,
            (1, _) => Value::Null,
            (2, Some(number)) => json!(number as i64 + 1),
            (3, Some(number)) => json!(number * 1.01),
            _ => [json!(0), json!(-1), json!(""), json!([]), json!({}), json!(true), json!("vm")]
                .choose(rng)
                .cloned()
                .unwrap(),
        };
        if let Some(found) = whole.pointer_mut(to) {
            *found = new;
        }
    }
}

/// Pointers to everything in a JSON value but the bins of histograms and most of the plan's trials.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Array(items) => {
            items.iter().take(4).enumerate().for_each(|(index, one)| leaves(one, &format!("{at}/{index}"), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, one)| leaves(one, &format!("{at}/{}", escaped(name)), found));
        }
        _ => {}
    }
}

/// Mutations of a seed, and how many of the records were accepted.
fn agrees(seed: u64, mutations: usize) -> Result<bool, String> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let blocks = *[3, 4, 8, 12].choose(&mut rng).unwrap();
    let mut record = record(seed, blocks, rng.random_bool(0.2));
    if rng.random_bool(0.5) {
        record = counted(record);
    }
    if blocks % 2 == 0 && rng.random_bool(0.3) {
        record = in_two_turns(record);
    }
    let mut written = Written::of(record);
    (0..mutations).for_each(|_| written.mutate(&mut rng));
    match written.read() {
        None => Ok(false),
        Some(record) => disagreement(&record).map_or(Ok(true), Err),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn a_report_and_a_comparison_say_the_same(seed: u64, mutations in 0..6_usize) {
        prop_assert_eq!(agrees(seed, mutations).err(), None);
    }
}

#[test]
fn enough_of_what_is_tried_is_accepted_and_judged() {
    let accepted = (0..40).filter(|seed| agrees(*seed, 2).unwrap()).count();
    assert!((15..40).contains(&accepted), "{accepted} of 40");
}
