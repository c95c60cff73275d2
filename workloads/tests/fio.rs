//! Every workload of the built-in suite, executed by the real fio on a real disk.

use std::os::fd::AsFd;
use std::path::Path;

use bench_agent::{Channel, Job, JobOutput, execute};
use bench_results::record::Profile;
use bench_results::validity::judge;
use bench_workloads::{Place, Suite, Work, drive_job, drive_result, fill_job};

fn run(job: &Job, scratch: &Path) -> JobOutput {
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut sink = std::io::sink();
    execute(job, scratch, &mut Channel::new(reader.as_fd(), &mut sink)).unwrap()
}

fn place(folder: &Path) -> Place {
    Place {
        target: Some(folder.join("target").display().to_string()),
        size_bytes: 16 << 20,
        fio: "/usr/bin/fio".to_owned(),
        bench: String::new(),
        path_env: "/usr/bin:/bin".to_owned(),
        network: None,
    }
}

fn folder() -> Option<tempfile::TempDir> {
    if !Path::new("/usr/bin/fio").exists() {
        eprintln!("skipped: /usr/bin/fio is not installed");
        return None;
    }
    Some(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
}

#[test]
fn the_target_is_filled_driven_and_measured() {
    let Some(folder) = folder() else { return };
    let place = place(folder.path());
    let filled = run(&fill_job(&place), folder.path());
    assert!(drive_result(&filled).unwrap() > 0.0, "{}", filled.stdout.text());
    let written = std::fs::read(place.target.as_ref().unwrap()).unwrap();
    assert_eq!(written.len() as u64, place.size_bytes);
    let zeros = written.chunks(4096).filter(|chunk| chunk.iter().all(|&byte| byte == 0)).count();
    assert_eq!(zeros, 0, "every block was written with data");
    assert!(drive_result(&run(&drive_job(&place, 0.2, 5), folder.path())).unwrap() > 0.0);

    let suite = Suite::builtin("io").unwrap();
    let profile = Profile { runtime_s: 0.3, warmup_s: 0.1, ..suite.profile("smoke").unwrap().clone() };
    for workload in &suite.workloads {
        let output = run(&workload.trial(&place, &profile, 0xdead_beef).unwrap().measured, folder.path());
        let measured = workload.measure(&output).unwrap_or_else(|why| panic!("{}: {why}", workload.name()));
        let value = |name: &str| measured.measurements.iter().find(|m| m.metric == name).map(|m| m.value);
        let iops = value("iops").unwrap();
        let Some(Work::Blocks { bytes }) = measured.work else { panic!("{} moves blocks", workload.name()) };
        let block_size = bytes as f64;
        let bandwidth = value("bandwidth_bytes_per_s").unwrap();
        assert!((bandwidth / (iops * block_size) - 1.0).abs() < 0.01, "{}: {bandwidth} {iops}", workload.name());
        assert!(value(&workload.record(Vec::new()).deciding).is_some(), "{} yields what decides it", workload.name());
        assert_eq!(judge(&measured.facts, false), []);
        let runtime = measured.facts["fio.runtime_s"].as_f64().unwrap();
        assert!((0.29..1.0).contains(&runtime), "{}: {runtime} s, the warm-up is not in it", workload.name());
    }
}

#[test]
fn a_target_that_is_not_there_fails_the_trial_with_fios_words() {
    let Some(folder) = folder() else { return };
    let place = Place { target: Some("/dev/null/file".into()), ..place(folder.path()) };
    let suite = Suite::builtin("io").unwrap();
    let workload = &suite.workloads[2];
    let output = run(&workload.trial(&place, suite.profile("smoke").unwrap(), 1).unwrap().measured, folder.path());
    let why = workload.measure(&output).unwrap_err();
    assert!(why.contains("Not a directory"), "{why}");
}

#[test]
fn a_fio_that_hangs_or_is_missing_fails_the_trial() {
    let Some(folder) = folder() else { return };
    let suite = Suite::builtin("io").unwrap();
    let workload = &suite.workloads[2];
    let missing = Place { fio: "/no/fio".into(), ..place(folder.path()) };
    let output = run(&workload.trial(&missing, suite.profile("smoke").unwrap(), 1).unwrap().measured, folder.path());
    assert!(workload.measure(&output).unwrap_err().contains("No such file"), "{:?}", output.status);
    let mut job = workload.trial(&place(folder.path()), suite.profile("quick").unwrap(), 1).unwrap().measured;
    job.deadline_ns = 300_000_000;
    assert!(workload.measure(&run(&job, folder.path())).unwrap_err().contains("deadline"));
    // fio's workers are in sessions of their own; an agent ends them, here nobody does.
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_left = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder.path());
        if is_left && name.parse::<u32>().is_ok_and(|pid| pid != std::process::id()) {
            std::process::Command::new("/bin/kill").args(["-9", &name]).status().unwrap();
        }
    }
}
