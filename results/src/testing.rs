//! What tests, examples and benchmarks share; above all a plausible record: made up, and only ever shown as such.

mod agreement;
mod probed;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::compare::{CompareError, History, Judgement, Sides, compare, compare_with};
use crate::histogram::Histogram;
use crate::metric;
use crate::percentiles::Recorded;
use crate::policy::Policy;
use crate::record::*;
use crate::store::Record;

pub use agreement::disagreement;
pub use probed::probed;

const WORKLOADS: [(&str, &str, &str, f64, f64); 7] = [
    ("seq-write", "sequential write, 1 MiB blocks", "bandwidth_bytes_per_s", 900.0, 0.99),
    ("seq-read", "sequential read, 1 MiB blocks", "bandwidth_bytes_per_s", 1_400.0, 0.97),
    ("rand-read", "random read, 4 KiB blocks, depth 16, 8 jobs", "iops", 84_000.0, 0.71),
    ("rand-write", "random write, 4 KiB blocks, depth 16, 8 jobs", "iops", 61_000.0, 0.75),
    ("rand-mixed", "random 70 % read, 4 KiB blocks, depth 32, 8 jobs", "iops", 70_000.0, 0.72),
    ("rand-read-latency", "random read, 4 KiB blocks, depth 16", "iops", 52_000.0, 0.80),
    ("rand-read-qd1", "random read, 4 KiB blocks, one at a time", "read_latency_p50_ns", 9_000.0, 0.63),
];

/// A run of the io suite with this many blocks; the guest is emulated or not.
pub fn record(seed: u64, blocks: u32, emulated: bool) -> Record {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let names = ["native", "native-control", "container", "vm"];
    let mut planned = Vec::new();
    for block in 1..=blocks {
        for workload in WORKLOADS {
            for (order, environment) in names.iter().enumerate() {
                planned.push(PlannedTrial {
                    id: format!("b{block:02}-{}-{environment}", workload.0).into(),
                    block,
                    turn: 1,
                    order: order as u32 + 1,
                    environment: (*environment).into(),
                    workload: workload.0.into(),
                    seed: u64::from(rng.random::<u32>()),
                });
            }
        }
    }
    let trials = planned.iter().map(|planned| trial(planned, emulated, &mut rng)).collect();
    Record {
        run: run(seed, blocks, emulated, planned),
        trials,
        notes: Vec::new(),
        folder: PathBuf::from("demo"),
        lean: None,
    }
}

/// The same run with each pair of neighbouring blocks as the two turns of one.
pub fn in_two_turns(mut record: Record) -> Record {
    for planned in record.run.plan.trials.iter_mut().chain(record.trials.iter_mut().map(|trial| &mut trial.planned)) {
        planned.turn = 2 - planned.block % 2;
        planned.block = planned.block.div_ceil(2);
    }
    let profile = &mut record.run.plan.profile;
    (profile.blocks, profile.turns) = (profile.blocks / 2, 2);
    record
}

fn parameters() -> BTreeMap<String, String> {
    [("iodepth".to_owned(), "16".to_owned())].into()
}

fn run(seed: u64, blocks: u32, emulated: bool, trials: Vec<PlannedTrial>) -> Run {
    Run {
        schema_version: SCHEMA_VERSION,
        id: "20260101T000000Z-io-demo00".into(),
        bench: Version { version: "0.1.0".into(), git_revision: Some("0123456789ab".into()), sha256: "00".repeat(32) },
        command: ["bench", "run", "--suite", "io", "--seed", "1"].map(str::to_owned).to_vec(),
        started_at: "2026-01-01T00:00:00Z".into(),
        ended_at: Some("2026-01-01T00:12:00Z".into()),
        state: State::Complete,
        plan: plan(seed, blocks, trials),
        environments: environments(emulated),
        left_out: Vec::new(),
        limits: Limits { cpus: "0-3".into(), memory_bytes: 1 << 30 },
        target: Some(Target {
            path: "/srv/bench/target".into(),
            is_device: false,
            size_bytes: 1 << 30,
            file_system: Some("ext4".into()),
            disk: Some("nvme0n1".into()),
        }),
        baseline: Some(Baseline {
            seconds: 1.0,
            other_cpu_percent: 0.4,
            busiest: Some("sshd".into()),
            disk_bytes_per_s: Some(20e3),
            steal_percent: Some(0.0),
        }),
        settle: Some(Settle { steady: true, seconds: 6.0, iops: vec![60e3, 75e3, 82e3, 83e3, 84e3, 84e3] }),
        fingerprint: [
            ("cpu.model", "Example CPU"),
            ("kernel.release", "6.12.0-demo"),
            ("tool.fio.version", "fio-3.33"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        warnings: vec!["this record is made up".into()],
        breaks: Vec::new(),
        imported: None,
        overhead: Some(Overhead { wall_s: 700.0, conductor_cpu: 0.004 }),
    }
}

fn plan(seed: u64, blocks: u32, trials: Vec<PlannedTrial>) -> Plan {
    let workload = |w: &(&str, &str, &str, f64, f64)| Workload {
        name: w.0.into(),
        title: w.1.into(),
        deciding: w.2.into(),
        parameters: parameters(),
        environments: Vec::new(),
    };
    Plan {
        suite: "io".into(),
        profile: Profile {
            name: "quick".into(),
            blocks,
            turns: 1,
            runtime_s: 2.0,
            warmup_s: 0.5,
            settle_s: 15.0,
            size_bytes: 1 << 30,
            margin: 0.1,
            verdicts: true,
        },
        seed,
        reference: "native".into(),
        control: Some("native-control".into()),
        workloads: WORKLOADS.iter().map(workload).collect(),
        planned_s: trials.len() as f64 * 2.5,
        trials,
        starts: Vec::new(),
        sequential: None,
    }
}

fn environments(emulated: bool) -> Vec<Environment> {
    let environment = |name: &str, kind: &str, accelerator, memory: &str| Environment {
        name: name.into(),
        kind: kind.into(),
        class: None,
        capabilities: None,
        definition: name.into(),
        accelerator,
        accelerator_note: (accelerator == Some(Accelerator::Tcg)).then(|| "KVM does not boot a guest here".to_owned()),
        own_rates_per_s: BTreeMap::new(),
        work: None,
        sameness: [("memory", memory), ("fio sha256", "abc123"), ("cpus", "4 (0-3)")]
            .map(|(axis, value)| (axis.to_owned(), value.to_owned()))
            .into(),
    };
    let accelerator = if emulated { Accelerator::Tcg } else { Accelerator::Kvm };
    vec![
        environment("native", "native", None, "cgroup limit of 1 GiB").of_class(Class::Process, &[]),
        environment("native-control", "native", None, "cgroup limit of 1 GiB").of_class(Class::Process, &[]),
        environment("container", "container", None, "cgroup limit of 1 GiB").of_class(Class::Container, &[]),
        environment("vm", "vm", Some(accelerator), "1 GiB of guest RAM")
            .of_class(Class::Vm, &[Capability::OwnKernel, Capability::Vmm]),
    ]
}

fn trial(planned: &PlannedTrial, emulated: bool, rng: &mut ChaCha12Rng) -> Trial {
    let found = WORKLOADS.iter().find(|workload| workload.0 == planned.workload);
    let (_, _, deciding, base, vm_factor) = found.copied().unwrap_or(WORKLOADS[0]);
    let is_vm = planned.environment == "vm";
    let factor = match (is_vm, emulated) {
        (true, true) => vm_factor * 0.4,
        (true, false) => vm_factor,
        (false, _) => 1.0,
    };
    let noise = (0..4).map(|_| rng.random_range(-1.0..1.0)).sum::<f64>() / 4.0;
    let drift = 1.0 + 0.02 * f64::from(planned.block);
    let sequential = deciding == "bandwidth_bytes_per_s";
    let iops = base * factor * drift * (1.0 + 0.02 * noise);
    let block_size = if sequential { 1_048_576.0 } else { 4096.0 };
    let depth = if planned.workload.ends_with("qd1") { 1.0 } else { 16.0 };
    let mean_ns = depth / iops * 1e9;
    let histogram = latencies(mean_ns, (iops * 2.0) as u64, rng);
    let mut measurements = vec![
        ("iops", iops),
        ("bandwidth_bytes_per_s", iops * block_size),
        ("read_latency_mean_ns", mean_ns),
        ("read_latency_max_ns", mean_ns * 30.0),
        ("cpu_ns_per_io", 6_000.0 / factor * (1.0 + 0.05 * noise)),
        ("machine_cpu_ns_per_io", 9_000.0 / factor * (1.0 + 0.05 * noise)),
        ("memory_peak_bytes", if is_vm { 400e6 } else { 60e6 }),
    ];
    let recorded = Recorded::of(&parameters(), "read");
    for (name, q) in [("read_latency_p50_ns", 0.5), ("read_latency_p99_ns", 0.99), ("read_latency_p999_ns", 0.999)] {
        measurements.extend(recorded.percentile_ns(&histogram, q).map(|ns| (name, ns)));
    }
    let accelerator = is_vm.then_some(if emulated { Accelerator::Tcg } else { Accelerator::Kvm });
    Trial {
        planned: planned.clone(),
        attempt: 1,
        execution: 1,
        superseded: false,
        started_at: "2026-01-01T00:01:00Z".into(),
        elapsed_ns: 2_600_000_000,
        accelerator,
        failure: None,
        invalid: Vec::new(),
        remarks: Vec::new(),
        measurements: measurements.into_iter().filter_map(|(name, value)| measurement(name, value)).collect(),
        histograms: [("read".to_owned(), histogram)].into(),
        observations: Vec::new(),
        facts: BTreeMap::from(["limits.broken", "host.other_cpu_percent"].map(|fact| (fact.to_owned(), 0.into()))),
        instance: instance(is_vm),
        folded: None,
    }
}

fn measurement(name: &str, value: f64) -> Option<Measurement> {
    let metric = metric::find(name)?;
    Some(Measurement { metric: name.into(), unit: metric.unit, better: metric.better, value })
}

/// A long-tailed distribution around a mean.
fn latencies(mean_ns: f64, count: u64, rng: &mut ChaCha12Rng) -> Histogram {
    const BINS: u32 = 120;
    let bins = (0..BINS).map(|i| {
        let x = f64::from(i) / f64::from(BINS - 1);
        let latency = mean_ns * (0.5 + 0.7 * x + 20.0 * x.powi(12));
        let share = (-((x - 0.45) / 0.18).powi(2)).exp() + 2e-4 * (1.0 - x);
        (latency as u64, (share * count as f64 / 38.0 * rng.random_range(0.97..1.03)) as u64)
    });
    Histogram::from_bins(bins)
}

fn instance(is_vm: bool) -> Instance {
    Instance {
        start_order: None,
        start_to_ready_ns: Some(if is_vm { 900_000_000 } else { 12_000_000 }),
        memory_at_ready_bytes: Some(if is_vm { 60_000_000 } else { 4_000_000 }),
        vmm_memory_at_ready_bytes: is_vm.then_some(50_000_000),
        guest_memory_at_ready_bytes: is_vm.then_some(90_000_000),
        kernel_release: Some("6.12.0-demo".into()),
        clock_source: Some("tsc".into()),
        clock_read_ns: Some(25.0),
    }
}

/// Another run of the same plan on the same machine: its own id, another seed, and the same noise about the same means.
pub fn another(seed: u64, blocks: u32, emulated: bool) -> Record {
    let mut record = record(seed, blocks, emulated);
    record.run.id = format!("20260102T000000Z-io-{seed:06x}");
    record
}

/// Earlier runs of the same plan, as `bench compare --history` reads them: eight that differ by their blocks alone.
pub fn history(base: &Record, new: &Record) -> History {
    static EARLIER: OnceLock<Vec<Record>> = OnceLock::new();
    let mut history = History::new(base, new);
    let earlier = EARLIER.get_or_init(|| (0..8).map(|number| another(0x0e_0000 + number, 8, false)).collect());
    earlier.iter().for_each(|record| history.add(record));
    history
}

/// [`compare`] of two runs with such a history.
pub fn compare_in_series(sides: Sides<'_>, policy: &Policy) -> Result<Judgement, CompareError> {
    match (sides.base_runs(), sides.new_runs()) {
        ([base], [new]) => compare_with(sides, policy, None, Some(&history(base, new))),
        _ => compare(sides, policy, None),
    }
}

/// The same record with what fio counts beside its values, as a real one has it.
pub fn counted(mut record: Record) -> Record {
    let mut blocks = BTreeMap::new();
    for workload in &mut record.run.plan.workloads {
        let block: u64 = if workload.name.starts_with("seq") { 1 << 20 } else { 4096 };
        blocks.insert(workload.name.clone(), block);
        let parameters = [
            ("engine", "libaio, direct".to_owned()),
            ("block_size_bytes", block.to_string()),
            ("jobs", "1".to_owned()),
        ];
        workload.parameters.extend(parameters.map(|(name, value)| (name.to_owned(), value)));
    }
    for trial in &mut record.trials {
        let (Some(iops), Some(block)) = (trial.value("iops"), blocks.get(trial.planned.workload.as_str())) else {
            continue;
        };
        let bins: Vec<(u64, u64)> = trial.histograms.values().flat_map(|one| one.bins().to_vec()).collect();
        let ios: u64 = bins.iter().map(|&(_, count)| count).sum();
        let time: f64 = bins.iter().map(|&(ns, count)| ns as f64 * count as f64).sum();
        let largest = bins.last().map_or(0, |&(ns, _)| ns);
        let known = [("iops", iops), ("bandwidth_bytes_per_s", iops * *block as f64)];
        let known = known
            .into_iter()
            .chain([("read_latency_mean_ns", time / ios as f64), ("read_latency_max_ns", largest as f64)]);
        for (metric, value) in known {
            trial.measurements.iter_mut().filter(|one| one.metric == metric).for_each(|one| one.value = value);
        }
        let (seconds, bytes) = (ios as f64 / iops, ios * block);
        let facts: [(&str, serde_json::Value); 9] = [
            ("fio.ios", ios.into()),
            ("fio.bytes", bytes.into()),
            ("fio.read_bytes", bytes.into()),
            ("fio.written_bytes", 0.into()),
            ("fio.runtime_s", seconds.into()),
            ("runtime.measured_s", seconds.into()),
            ("histogram.expected", ios.into()),
            ("histogram.missing", 0.into()),
            ("disk.missing_percent", 0.into()),
        ];
        trial.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
        trial.elapsed_ns = (seconds * 1.2e9) as u64;
    }
    record
}

/// Multiply all rates of a workload in an environment by `factor`, and divide its times by it.
pub fn speed_up(record: &mut Record, workload: &str, environment: &str, factor: f64) {
    let of = |trial: &&mut Trial| trial.planned.workload == workload && trial.planned.environment == environment;
    record.trials.iter_mut().filter(of).for_each(|trial| scale(trial, factor));
}

/// Multiply all rates of a trial by `factor`, and divide its times by it, its histograms' as well.
pub fn scale(trial: &mut Trial, factor: f64) {
    for measurement in &mut trial.measurements {
        measurement.value *= match measurement.better {
            metric::Direction::Higher => factor,
            metric::Direction::Lower => 1.0 / factor,
        };
    }
    for histogram in trial.histograms.values_mut() {
        let bins = histogram.bins().iter().map(|&(ns, count)| ((ns as f64 / factor) as u64, count));
        *histogram = Histogram::from_bins(bins);
    }
}

/// Compare what stands between two comments of a page of docs/ with what the code says; with `BLESS=1` it is written anew.
#[cfg(test)]
pub(crate) fn documented_in(page: &str, begin: &str, end: &str, code: &str) {
    // The tests of one process run side by side.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let (begin, end) = (format!("<!-- {begin} -->\n"), format!("<!-- {end} -->"));
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let Some((before, (documented, after))) = parts else {
        panic!("docs/{page} has no place between {begin} and {end}");
    };
    if std::env::var_os("BLESS").is_some() {
        assert!(std::fs::write(&path, format!("{before}{begin}{code}{end}{after}")).is_ok());
    } else {
        assert_eq!(documented, code, "docs/{page} is not current; BLESS=1 writes it anew");
    }
}

/// Most memory that this process ever had, in KiB (`VmHWM`, proc_pid_status(5)).
pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// CPU time that this process has taken, in seconds: others that use the machine make it little longer.
pub fn cpu_s() -> f64 {
    let taken = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    taken.tv_sec as f64 + taken.tv_nsec as f64 / 1e9
}

/// Pointers to all texts of a JSON value.
pub fn texts(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(_) => found.push(at.to_owned()),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| texts(item, &format!("{at}/{index}"), found));
        }
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            texts(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        _ => {}
    }
}
