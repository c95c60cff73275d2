//! Job files, executed by the real fio on a real disk.

use std::os::fd::AsFd;
use std::path::Path;

use bench_agent::{Channel, JobOutput, execute};
use bench_results::record::Profile;
use bench_results::validity::judge;
use bench_workloads::{Measured, Place, Suite, Work, Workload, fio_job};

const TARGET_BYTES: u64 = 16 << 20;

fn run(workload: &Workload, folder: &Path, seed: u64) -> JobOutput {
    let place = Place {
        target: Some(folder.join("target").display().to_string()),
        size_bytes: TARGET_BYTES,
        fio: "/usr/bin/fio".to_owned(),
        bench: String::new(),
        path_env: "/usr/bin:/bin".to_owned(),
        network: None,
    };
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut sink = std::io::sink();
    let job = workload.trial(&place, &profile(), seed).unwrap().measured;
    execute(&job, folder, &mut Channel::new(reader.as_fd(), &mut sink)).unwrap()
}

fn profile() -> Profile {
    Suite::builtin("io").unwrap().profile("smoke").unwrap().clone()
}

/// A folder on a disk with a target that is written.
fn folder() -> Option<tempfile::TempDir> {
    if !Path::new("/usr/bin/fio").exists() {
        eprintln!("skipped: /usr/bin/fio is not installed");
        return None;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(folder.path().join("target"), vec![0xa5; TARGET_BYTES as usize]).unwrap();
    Some(folder)
}

/// The workloads of a file with this text.
fn workloads(folder: &Path, text: &str) -> Vec<Workload> {
    let path = folder.join("job.txt");
    std::fs::write(&path, text).unwrap();
    fio_job(&path).unwrap_or_else(|e| panic!("{e}"))
}

fn only(folder: &Path, text: &str) -> Workload {
    let mut all = workloads(folder, text);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn value(measured: &Measured, name: &str) -> Option<f64> {
    measured.measurements.iter().find(|one| one.metric == name).map(|one| one.value)
}

/// Executed and read: what decides is there, every latency is in its histogram, and the target is as large as it was.
fn measured(folder: &Path, text: &str) -> Measured {
    let workload = only(folder, text);
    let output = run(&workload, folder, 7);
    let measured = workload.measure(&output).unwrap_or_else(|why| panic!("{text}: {why}\n{}", output.stdout.text()));
    let deciding = workload.record(Vec::new()).deciding;
    // A percentile may need more I/Os than a short test does; its histogram is there.
    let histogram = deciding.split_once("_latency_").is_some_and(|(of, _)| measured.histograms.contains_key(of));
    assert!(
        histogram || value(&measured, &deciding).is_some_and(|value| value > 0.0),
        "{text}: {deciding} {measured:?}"
    );
    assert_eq!(judge(&measured.facts, false), [], "{text}");
    assert_eq!(std::fs::metadata(folder.join("target")).unwrap().len(), TARGET_BYTES, "{text}");
    measured
}

#[test]
fn a_log_that_waits_for_the_disk_is_judged_by_its_syncs() {
    let Some(folder) = folder() else { return };
    let text = "[wal]\nrw=write\nioengine=sync\nfdatasync=1\nsize=2764600\nbs=2300\ndirectory=somewhere\n";
    let measured = measured(folder.path(), text);
    assert_eq!(measured.facts["fio.ios"], 1202);
    let syncs = measured.histograms["sync"].count();
    assert!((1100..=1203).contains(&syncs), "{syncs} after 1202 writes");
    assert!(value(&measured, "sync_latency_p99_ns") > value(&measured, "sync_latency_p50_ns"));
    assert!(
        measured.moved_bytes.is_none() && measured.facts["fio.unaccounted"].as_str().unwrap().contains("page cache")
    );
    assert_eq!(measured.facts["fio.bytes"], 2_764_600);
}

#[test]
fn sections_at_once_are_added_up_as_a_group_is() {
    let Some(folder) = folder() else { return };
    let global = "[global]\nioengine=libaio\ndirect=1\ntime_based\nruntime=1\nsize=100%\n";
    let text = format!(
        "{global}[reads]\nrw=randread\nbs=4k\nnumjobs=2\n[writes]\nrw=randwrite\nbs=8k\niodepth=2\nrate_iops=200\n"
    );
    let measured = measured(folder.path(), &text);
    let of = |name| value(&measured, name).unwrap();
    assert!((of("read_iops") + of("write_iops") - of("iops")).abs() < 1.0);
    assert!((150.0..250.0).contains(&of("write_iops")), "{}", of("write_iops"));
    assert_eq!(measured.histograms["read"].count() + measured.histograms["write"].count(), measured.facts["fio.ios"]);
    assert!(measured.moved_bytes.is_some_and(|(read, written)| read > 0 && written > 0), "all of it is counted");
    assert!(matches!(measured.work, Some(Work::PerSecond { unit: "io", .. })), "of two sizes");
    assert!(measured.seconds.1.is_some_and(|seconds| (0.9..1.3).contains(&seconds)));
}

#[test]
fn the_reads_of_a_verification_are_no_part_of_the_figures() {
    let Some(folder) = folder() else { return };
    let measured = measured(folder.path(), "[a]\nrw=randwrite\nbs=4k\nsize=2m\nverify=crc32c\ndirect=1\n");
    assert_eq!((measured.facts["fio.ios"].as_u64(), measured.histograms.len()), (Some(512), 1));
    assert_eq!(value(&measured, "read_iops"), None);
    let rate = 512.0 / measured.facts["fio.runtime_s"].as_f64().unwrap();
    assert!((value(&measured, "iops").unwrap() / rate - 1.0).abs() < 0.01);
}

#[test]
fn a_group_alone_is_executed_of_several() {
    let Some(folder) = folder() else { return };
    let text = "[global]\nioengine=psync\ndirect=1\nsize=4m\n[first]\nrw=read\nbs=1m\n[second]\nstonewall\nrw=randwrite\nbs=4k\n";
    let both = workloads(folder.path(), text);
    assert_eq!(both.iter().map(Workload::name).collect::<Vec<_>>(), ["first", "second"]);
    for (workload, bytes) in both.iter().zip([(4 << 20, 0), (0, 4 << 20)]) {
        let measured = workload.measure(&run(workload, folder.path(), 1)).unwrap();
        assert_eq!(measured.moved_bytes, Some(bytes), "{}", workload.name());
        assert!(matches!(measured.work, Some(Work::Blocks { .. })));
    }
}

#[test]
fn whatever_engine_and_option_are_passed_on_figures_agree() {
    let Some(folder) = folder() else { return };
    for text in [
        "[a]\nrw=randread\nbs=4k\ndirect=1\nioengine=io_uring\niodepth=8\nsize=4m\n",
        "[a]\nrw=randrw\nbssplit=4k/50:16k/50\nrandom_distribution=zipf:1.2\nsize=4m\nio_size=2m\n",
        "[a]\nrw=randread\nbs=4k\ndirect=1\nsize=8m\nloops=2\nnorandommap\nthread\n",
        "[a]\nrw=randread\nbs=4k\ndirect=1\nramp_time=1\nruntime=1\ntime_based\nwrite_iops_log=/nowhere/x\nlog_avg_msec=100\n",
        "[a]\nrw=randread\nbs=4k\ndirect=1\nrate_iops=3000\nrate_process=poisson\nruntime=1\ntime_based\n",
        "[a]\nrw=write\nbs=4k\nsize=2m\nfsync=16\nend_fsync=1\nioengine=psync\n",
        "[a]\nrw=randread\nbs=4k\ndirect=1\nioengine=libaio\niodepth=4\nruntime=3\ntime_based\nss=iops:90%\nss_dur=1\n",
        "[a]\nrw=read\nbs=64k\nioengine=mmap\nsize=4m\n",
        "[a]\nrw=randread\nbs=4k\ndirect=1\nsize=1m\ngtod_reduce=1\n",
        "[a]\nrw=randread\nbs=4k\nsize=1m\nunified_rw_reporting=both\nnumjobs=3\n",
    ] {
        let measured = measured(folder.path(), text);
        let moved = measured.histograms.values().map(bench_results::Histogram::count).sum::<u64>();
        assert!(text.contains("gtod_reduce") || moved >= measured.facts["fio.ios"].as_u64().unwrap(), "{text}");
    }
}

#[test]
fn each_seed_has_offsets_of_its_own_whatever_the_file_says() {
    let Some(folder) = folder() else { return };
    let text =
        "[a]\nrw=randwrite\nbs=4k\nsize=16m\nnumber_ios=64\nrandrepeat=1\nrandseed=5\ndirect=1\nbuffer_pattern=0x77\n";
    let workload = only(folder.path(), text);
    let written = |seed| {
        std::fs::write(folder.path().join("target"), vec![0; TARGET_BYTES as usize]).unwrap();
        workload.measure(&run(&workload, folder.path(), seed)).unwrap();
        let content = std::fs::read(folder.path().join("target")).unwrap();
        let blocks = content.chunks(4096).map(|block| block[0] == 0x77).collect::<Vec<_>>();
        assert_eq!(blocks.iter().filter(|written| **written).count(), 64);
        blocks
    };
    let (first, again, other) = (written(3), written(3), written(4));
    assert!(first == again && first != other);
}

#[test]
fn what_fio_refuses_fails_the_trial_with_its_words_and_makes_no_file() {
    let Some(folder) = folder() else { return };
    let workload = only(folder.path(), "[a]\nrw=randsomething\nsize=1m\n");
    let why = workload.measure(&run(&workload, folder.path(), 1)).unwrap_err();
    assert!(why.contains("randsomething"), "{why}");
    std::fs::remove_file(folder.path().join("target")).unwrap();
    let workload = only(folder.path(), "[a]\nrw=randwrite\nsize=1m\n");
    assert!(workload.measure(&run(&workload, folder.path(), 1)).is_err());
    assert!(!folder.path().join("target").exists());
}

#[test]
fn what_takes_too_long_is_given_up_with_advice() {
    let Some(folder) = folder() else { return };
    let workload = only(folder.path(), "[a]\nrw=randread\nsize=16m\nrate_iops=1\n");
    let late = JobOutput {
        status: bench_agent::JobStatus::DeadlinePassed,
        ..run(&only(folder.path(), "[a]\nsize=1m\n"), folder.path(), 1)
    };
    assert!(workload.measure(&late).unwrap_err().contains("--runtime"));
}
