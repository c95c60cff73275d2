//! Facts that must stand in what the parts left, beyond their exit statuses.

use std::fs;
use std::path::PathBuf;

use bench_results::analysis::{Analysis, analyse};
use bench_results::claims::Outcome;
use bench_results::record::{Accelerator, Environment, State, Trial};
use bench_results::store::Record;

/// What a part left.
pub struct Results {
    /// Its folder.
    pub folder: PathBuf,
}

impl Results {
    /// A file of it; empty where there is none.
    pub fn text(&self, name: &str) -> String {
        fs::read(self.folder.join(name)).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    /// The only run's record.
    fn record(&self) -> Record {
        Record::load(&self.run()).unwrap()
    }

    fn run(&self) -> PathBuf {
        let entries = fs::read_dir(&self.folder).unwrap().flatten().map(|entry| entry.path());
        let runs: Vec<_> = entries.filter(|path| path.join("run.json").exists()).collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].clone()
    }
}

pub fn doctor(results: &Results) {
    let told: serde_json::Value = serde_json::from_str(&results.text("doctor.json")).unwrap();
    let findings = told["findings"].as_array().unwrap();
    let value = |name: &str| findings.iter().find(|f| f["name"] == name).unwrap()["value"].as_str().unwrap().to_owned();
    let missing: Vec<_> = findings.iter().filter(|finding| finding["level"] == "missing").collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(value("cgroups"), "v2");
    assert!(value("machine").contains("emulated CPU"), "{}", value("machine"));
    assert!(value("kvm").contains("/dev/kvm opens"), "{}", value("kvm"));
    assert!(value("vhost-net").contains("is there"));
}

pub fn container(results: &Results) {
    eprintln!("bench itself is in {}", results.text("own-group").trim());
    assert_eq!(results.text("limits"), "67108864\n150000 100000\n50\n0\n");
    let inside = results.text("inside");
    assert!(inside.contains("eth0") && inside.ends_with("container\n0\n"), "{inside}");
}

pub fn kvm(results: &Results) {
    let guest = results.text("guest");
    let (kernel, clock) = guest.trim().split_once('\n').unwrap();
    assert_eq!(kernel, results.text("host-kernel").trim(), "the host's own kernel");
    assert!(["kvm-clock", "tsc"].contains(&clock), "{clock}");
    assert!(results.text("boot").contains("(KVM)"), "{}", results.text("boot"));
    let clock = results.text("micro");
    assert!(["kvm-clock", "tsc"].contains(&clock.trim()), "a good clock, and nothing on PCI: {clock}");
    assert!(results.text("micro-boot").contains("(KVM)"), "{}", results.text("micro-boot"));
    for (name, said) in [("small", "at least"), ("hasty", "boot-timeout=")] {
        let text = results.text(name);
        assert!(text.contains(said) && text.ends_with("\n125\n") && !text.contains("KVM"), "{name}: {text}");
    }
    assert!(results.text("doctor.txt").contains("a guest boots under KVM"), "{}", results.text("doctor.txt"));
}

/// Guests of a run: under KVM, pinned, with a good clock; and all its trials are valid.
fn guests(record: &Record) -> Vec<&Trial> {
    assert_eq!(record.run.state, State::Complete);
    let broken: Vec<_> = record.trials.iter().filter(|trial| !trial.is_valid() && !trial.superseded).collect();
    assert!(broken.is_empty(), "{broken:?}");
    let guests: Vec<_> = record.trials.iter().filter(|trial| trial.accelerator.is_some()).collect();
    assert!(!guests.is_empty());
    for trial in &guests {
        assert_eq!(trial.accelerator, Some(Accelerator::Kvm));
        assert_eq!(trial.facts["guest.unpinned_cpus"], 0, "{}", trial.planned.id);
        let clock = trial.instance.clock_source.as_deref();
        assert!(["kvm-clock", "tsc"].map(Some).contains(&clock), "{clock:?}");
    }
    guests
}

fn vm(record: &Record) -> &Environment {
    record.run.environments.iter().find(|environment| environment.name == "vm").unwrap()
}

/// What reads a run agrees about it, and judges nothing.
fn unjudged(results: &Results, record: &Record) {
    let report = results.text("report.md");
    assert!(report.contains("emulated CPU"), "{report}");
    for name in ["report.json", "report.csv", "report.html", "report.txt", "compare.md", "compare-runs.md"] {
        assert!(!results.text(name).is_empty(), "{name}");
    }
    let between = results.text("compare-runs.md");
    assert!(between.contains("vm: only in NEW"), "{between}");
    assert!(analyse(record).comparisons.iter().all(|comparison| comparison.verdict.is_none()));
    let archive = results.folder.join("run.tar.gz");
    assert_eq!(Record::load(&archive).unwrap().trials.len(), record.trials.len());
}

pub fn io(results: &Results) {
    let record = results.record();
    for trial in guests(&record) {
        let id = &trial.planned.id;
        assert_eq!(trial.facts["vmm.disk_off_bytes"], 0, "{id}: the VMM moved what fio says");
        assert_eq!(trial.facts["vmm.host_cached"], 0, "{id}");
    }
    assert!(vm(&record).sameness["storage path"].contains("virtio-blk"), "{:?}", vm(&record).sameness);
    unjudged(results, &record);
}

pub fn network(results: &Results) {
    let record = results.record();
    guests(&record);
    assert!(vm(&record).sameness["network path"].contains("virtio-net with vhost"), "{:?}", vm(&record).sameness);
    unjudged(results, &record);
}

/// In a build for tests, which says so, the guest's row has a verdict and a place in headline and figure, and claims about KVM are
/// judged; without the mark of such a build nothing is.
pub fn judged(results: &Results) {
    let mut record = results.record();
    guests(&record);
    let analysis = analyse(&record);
    let row = analysis.comparisons.iter().find(|c| c.environment == "vm" && c.deciding).unwrap();
    assert!(row.verdict.is_some() && row.pairs.len() == 3, "{row:?}");
    assert!(analysis.headline.starts_with("test build on an emulated CPU"), "{}", analysis.headline);
    assert!(analysis.headline.contains("VM: "), "{}", analysis.headline);
    assert!(tested(&analysis, "memory"), "{:?}", analysis.claims);
    let answer = fs::read_to_string(results.run().join("report/answer.svg")).unwrap();
    assert!(answer.contains("rand-read-qd1") && answer.contains("vm"), "the figure has the row");
    record.run.fingerprint.remove(bench_results::host::JUDGED_FACT).unwrap();
    let analysis = analyse(&record);
    assert!(analysis.comparisons.iter().all(|comparison| comparison.verdict.is_none()));
    assert!(analysis.claims.iter().all(|claim| matches!(claim.outcome, Outcome::NotTested(_))));
}

fn tested(analysis: &Analysis, about: &str) -> bool {
    let mut claims = analysis.claims.iter().filter(|claim| claim.id.contains(about));
    claims.any(|claim| !matches!(claim.outcome, Outcome::NotTested(_)))
}

pub fn kill(results: &Results) {
    assert!(results.text("at-the-kill").contains("rand-read-vm"), "{}", results.text("at-the-kill"));
    assert_eq!(results.text("left-after-clean"), "");
    let record = results.record();
    assert_eq!(record.run.breaks.len(), 1);
    guests(&record);
    let standing = record.trials.iter().filter(|trial| !trial.superseded).count();
    assert_eq!(standing, record.run.plan.trials.len());
}

pub fn escape(results: &Results) {
    let attempts = results.text("attempts");
    let count = |word: &str| attempts.lines().filter(|line| line.starts_with(word)).count();
    let documented = "lift its limits by a cgroup mount in a user namespace";
    let escaped: Vec<_> =
        attempts.lines().filter(|line| line.starts_with("ESCAPED") && !line.contains(documented)).collect();
    assert!(escaped.is_empty() && count("BROKEN") == 0, "{escaped:?}");
    assert!(count("stopped") > 300, "{} were stopped", count("stopped"));
    eprintln!("escapes: {} stopped", count("stopped"));
}

pub fn left(results: &Results) {
    assert_eq!(results.text("said"), "");
}
