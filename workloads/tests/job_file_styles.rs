//! Job files in the styles in which people publish them: what becomes of each; and files that are none.

use std::path::Path;

use bench_workloads::fio_job;

/// Style, text, and names with deciding metrics of the workloads, or what is refused.
type Case = (&'static str, &'static str, Result<&'static [(&'static str, &'static str)], &'static str>);

/// Written for this test, after what is published: a desktop's disk tester, etcd's question, a peak of IOPS, an open loop, a steady state
/// as SNIA has it, JEDEC's endurance mix, tiobench, fio's own examples of a latency target, of fsx, of flows, of a fixed rate, and of
/// verification.
const STYLES: [Case; 12] = [
    (
        "desktop",
        "[global]\nioengine=libaio\nfilename=disk.tmp\nsize=64m\ndirect=1\nloops=5\nrefill_buffers\nthread\ngroup_reporting\n\
         [seq-read]\nstonewall\nrw=read\nbs=1m\niodepth=8\n[rnd-read]\nstonewall\nrw=randread\nbs=4k\niodepth=32\nnumjobs=16\n\
         [rnd-write]\nstonewall\nrw=randwrite\nbs=4k\nend_fsync=1\n",
        Ok(&[("seq-read", "bandwidth_bytes_per_s"), ("rnd-read", "iops"), ("rnd-write", "iops")]),
    ),
    (
        "log",
        "[wal]\nrw=write\nioengine=sync\nfdatasync=1\nsize=22m\nbs=2300\ndirectory=wal-test\n",
        Ok(&[("job", "sync_latency_p99_ns")]),
    ),
    (
        "peak",
        "[global]\nioengine=io_uring\nregisterfiles=1\nfixedbufs=1\nhipri=1\nsqthread_poll=0\nbs=4k\nrw=randread\niodepth=128\n\
         iodepth_batch_submit=16\niodepth_batch_complete_min=1\ndirect=1\ngtod_reduce=1\nnorandommap\ntime_based\nruntime=30\ncpus_allowed=2\n\
         [four]\nfilename=/dev/nvme0n1:/dev/nvme1n1\n",
        Err("job.fio:19: `filename=/dev/nvme0n1:/dev/nvme1n1` is refused"),
    ),
    (
        "open loop",
        "[at-20k]\nioengine=libaio\ndirect=1\nrw=randread\nbs=4k\niodepth=256\nrate_iops=20000\nrate_process=poisson\n\
         io_submit_mode=offload\nlatency_target=2ms\nlatency_window=1s\nlatency_percentile=99.9\n",
        Ok(&[("job", "read_latency_p99_ns")]),
    ),
    (
        "steady state",
        "[global]\nioengine=libaio\ndirect=1\ngroup_reporting\n[precondition]\nrw=write\nbs=128k\niodepth=32\nloops=2\n\
         [measured]\nstonewall\nrw=randwrite\nbs=4k\niodepth=32\ntime_based\nruntime=6h\nss=iops_slope:0.3%\nss_dur=30m\nss_ramp=5m\n\
         write_iops_log=measured\nlog_avg_msec=1000\n",
        Ok(&[("precondition", "bandwidth_bytes_per_s"), ("measured", "iops")]),
    ),
    (
        "endurance",
        "[mix]\nioengine=libaio\ndirect=1\nrw=randrw\nnorandommap\nrandrepeat=0\nrwmixread=40\niodepth=256\nnumjobs=4\n\
         bssplit=512/4:1024/1:4k/75:8k/10:16k/10\nblockalign=4k\nrandom_distribution=zoned:50/5:30/15:20/80\nfilename=/dev/nvme0n1\n",
        Err("job.fio:13: `filename=/dev/nvme0n1` is refused"),
    ),
    (
        "threads",
        "; once without an engine\n[global]\ndirect=1\nsize=8m\nbsrange=4k-4k\ntimeout=60\nnumjobs=4\t; at once\n\
         [f1]\nrw=write\n[f2]\nstonewall\nrw=randwrite\n",
        Ok(&[("f1", "iops"), ("f2", "iops")]),
    ),
    (
        "latency target",
        "[global]\nbs=4k\nrw=randread\nrandom_generator=lfsr\ndirect=1\nioengine=libaio\niodepth=128\nlatency_target=500000\n\
         latency_window=5000\nlatency_percentile=99.9\n[device]\nfilename=/dev/sda\n",
        Err("job.fio:12: `filename=/dev/sda` is refused"),
    ),
    (
        "fsx",
        "[file]\nioengine=libaio\niodepth=1\nrw=randrw\nsize=256k\nbs=4k\nnorandommap\ndirect=1\nloops=500000\nrwmixcycle=40\n",
        Err("job.fio:10: `rwmixcycle` is refused"),
    ),
    (
        "flows",
        "[global]\nthread\ntime_based\nruntime=30\ndirect=1\nioengine=libaio\niodepth=256\nsize=1g\nbs=8k\nfilename=/tmp/testfile\n\
         [job2]\nrw=write\nflow=1\n[job1]\nrw=randread\nflow=8\n",
        Err("job.fio:10: `filename=/tmp/testfile` is refused"),
    ),
    (
        "fixed rate",
        "[submit]\nsize=128m\nrw=read\nioengine=libaio\niodepth=32\ndirect=1\nrate_iops=1000\n",
        Ok(&[("job", "read_latency_p99_ns")]),
    ),
    (
        "verification",
        "[write-and-verify]\nrw=randwrite\nbs=4k\ndirect=1\nioengine=libaio\niodepth=16\nsize=8m\nverify=crc32c\n",
        Ok(&[("job", "iops")]),
    ),
];

/// Names and deciding metrics of a file's workloads, or the error.
fn read(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.fio");
    std::fs::write(&path, text).unwrap();
    let found = fio_job(&path).map_err(|e| e.to_string().replace(&format!("{}/", folder.path().display()), ""));
    let told =
        |workload: &bench_workloads::Workload| (workload.name().to_owned(), workload.record(Vec::new()).deciding);
    found.map(|workloads| workloads.iter().map(told).collect())
}

#[test]
fn each_style_is_taken_or_refused_by_its_line() {
    for (style, text, wanted) in STYLES {
        match (read(text.as_bytes()), wanted) {
            (Ok(found), Ok(wanted)) => {
                let found: Vec<_> = found.iter().map(|(name, deciding)| (name.as_str(), deciding.as_str())).collect();
                assert_eq!(found, wanted, "{style}");
            }
            (Err(said), Err(wanted)) => assert!(said.starts_with(wanted), "{style}: {said}"),
            (found, _) => panic!("{style}: {found:?}"),
        }
    }
}

#[test]
fn windows_line_ends_change_nothing() {
    for (style, text, wanted) in STYLES.iter().filter(|(_, _, wanted)| wanted.is_ok()) {
        assert_eq!(read(text.replace('\n', "\r\n").as_bytes()), read(text.as_bytes()), "{style}: {wanted:?}");
    }
}

#[test]
fn what_is_no_job_file_is_refused_by_its_line() {
    let sections: String = (0..500).map(|number| format!("[s{number}]\nsize=1m\n")).collect();
    let huge = format!("[a]\nsize=1m\n{}", "; nothing\n".repeat(1_000_000));
    for (text, said) in [
        (sections.as_str(), "job.fio:513: a job file has 256 sections at most"),
        ("[a]\nsize=1m\nspeed=9\n", "job.fio:3: `speed` is refused: it is no option of fio that bench knows"),
        ("size=1m\nrw=read\n", "job.fio:1: `size=1m` stands before the first [section]"),
        ("", "job.fio:1: it has no job"),
        ("[global]\nsize=1m\n", "job.fio:1: it has no job"),
        (&huge, "job.fio:1: reading job.fio"),
        ("[a]\nexec_prerun=true\n", "job.fio:2: `exec_prerun` is refused"),
    ] {
        let error = read(text.as_bytes()).unwrap_err();
        assert!(error.starts_with(said), "{said}: {error}");
    }
    assert!(read(b"[a]\nsize=1m\n\xff\xfe\n").unwrap_err().starts_with("job.fio:3: it is no text"));
}

/// The job files of a folder that `BENCH_JOB_FILES` names, to see what becomes of others' files.
#[test]
fn others_files_are_taken_or_refused_with_a_place() {
    let Some(folder) = std::env::var_os("BENCH_JOB_FILES") else {
        eprintln!("skipped: BENCH_JOB_FILES names no folder of job files");
        return;
    };
    for entry in std::fs::read_dir(Path::new(&folder)).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "fio") {
            match fio_job(&path) {
                Ok(workloads) => eprintln!("{}: {} workloads", path.display(), workloads.len()),
                Err(e) => {
                    eprintln!("{e}");
                    assert!(e.to_string().starts_with(&format!("{}:", path.display())), "{e}");
                }
            }
        }
    }
}
