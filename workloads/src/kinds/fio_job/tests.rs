//! Job files as people write them, and as nobody should.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::*;

/// Files and variables that are there.
fn with<T>(files: &[(&str, &[u8])], variables: &[(&str, &str)], then: impl FnOnce(&World<'_>) -> T) -> T {
    let files: BTreeMap<_, _> = files.iter().map(|(name, content)| (Path::new(*name), content.to_vec())).collect();
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    then(&World {
        read: &|path| files.get(path).cloned().ok_or_else(missing),
        variable: &|name| variables.get(name).map(|value| (*value).to_owned()),
    })
}

fn of(text: &str) -> Result<Vec<FioJob>, String> {
    with(&[("x.fio", text.as_bytes())], &[("SIZE", "8m"), ("ODD", "a;b")], |world| {
        groups(Path::new("x.fio"), world).map_err(|e| e.to_string())
    })
}

fn only(text: &str) -> FioJob {
    let mut groups = of(text).unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
    groups.remove(0)
}

fn place(target: &str) -> Place {
    Place {
        target: Some(target.to_owned()),
        size_bytes: 64 << 20,
        fio: "/usr/bin/fio".to_owned(),
        bench: String::new(),
        path_env: "/usr/bin".to_owned(),
        network: None,
    }
}

/// The job of a trial of `smoke`.
fn job_at(job: &FioJob, target: &str) -> bench_agent::Job {
    job.trial(&place(target), &profile(), 7).unwrap().measured
}

fn text_of(job: &FioJob) -> String {
    job_at(job, "/t:1").files[0].content.text()
}

const SEVERAL: &str = "; measured one after the other\r
[global]\r
ioengine=libaio\r
direct = 1\r
filename=disk.tmp\r
size=4m # small\r
bs=1m\r
\r
[one]\r
rw=read\r
[two]\r
stonewall\r
rw=randwrite\r
bs=4k\r
[three]\r
rw=randread\r
bs=4k\r
[global]\r
numjobs=3\r
[four]\r
wait_for_previous\r
rw=write\r
";

#[test]
fn sections_between_stonewalls_are_workloads_of_their_own() {
    let groups = of(SEVERAL).unwrap();
    let names: Vec<_> = groups.iter().map(|group| group.jobs().map(|job| &*job.name).collect::<Vec<_>>()).collect();
    assert_eq!(names, [vec!["one"], vec!["two", "three"], vec!["four"]]);
    let jobs: Vec<u64> = groups.iter().map(|group| group.meanings[0].jobs).collect();
    assert_eq!(jobs, [1, 1, 3], "a later [global] holds for what comes after it");
    assert_eq!(
        groups.iter().map(FioJob::about).collect::<Vec<_>>(),
        ["bandwidth_bytes_per_s", "iops", "bandwidth_bytes_per_s"]
    );
    assert_eq!(groups[1].directions(), ["read", "write"]);
    assert_eq!(groups[1].title(), "[two] [three] of x.fio");
}

#[test]
fn fio_gets_the_file_with_the_target_and_the_seed_and_nothing_else_of_ours() {
    let text = text_of(&of(SEVERAL).unwrap()[1]);
    let own = "filename=/t\\:1\nallow_file_create=0\nrandrepeat=0\nrandseed=7\nverify_state_save=0\n";
    let global = "[global]\nioengine=libaio\ndirect=1\nsize=4m\nbs=1m\n";
    assert_eq!(text, format!("{global}[two]\nstonewall\nrw=randwrite\nbs=4k\n{own}[three]\nrw=randread\nbs=4k\n{own}"));
}

#[test]
fn shares_are_of_the_target_and_logs_stay_inside() {
    let text = text_of(&only("[a]\nsize=50%\noffset=25%\nwrite_bw_log=/etc/passwd\nrandseed=1\nverify_dump=1\n"));
    assert!(text.starts_with("[a]\nsize=33554432\noffset=16777216\nwrite_bw_log=log\nfilename="), "{text}");
    assert!(!text.contains("verify_dump") && !text.contains("randseed=1\n"), "{text}");
    assert!(text_of(&only("[a]\nrw=read\n")).contains("size=67108864\n"), "no farther than the target is driven");
}

#[test]
fn a_time_from_outside_takes_the_place_of_what_ends_the_job() {
    let mut job = only("[a]\nloops=5\nsize=4m\nnumber_ios=3\nramp_time=2\n");
    assert_eq!(job.seconds(&profile()), (0.0, 0.0), "its size ends it");
    assert!(job.set_runtime(1.5));
    let text = text_of(&job);
    assert!(text.contains("ramp_time=2\n") && text.contains("time_based=1\nruntime=1500ms\n"), "{text}");
    assert!(!text.contains("loops") && !text.contains("number_ios"), "{text}");
    assert_eq!(job.seconds(&profile()), (0.0, 1.5));
    assert_eq!(job_at(&job, "/t").deadline_ns, 40_500_000_000);
    assert_eq!(only("[a]\ntime_based\nruntime=2m\n").seconds(&profile()).1, 120.0);
    assert_eq!(only("[a]\nruntime=2m\n").seconds(&profile()).1, 0.0, "its size may end it earlier");
}

fn profile() -> Profile {
    crate::Suite::builtin("io").unwrap().profile("smoke").unwrap().clone()
}

#[test]
fn includes_and_variables_are_resolved_once() {
    let files: [(&str, &[u8]); 3] = [
        ("d/x.fio", b"[a]\ninclude more/y.inc\nsize=${SIZE}\n"),
        ("d/more/y.inc", b"# options\nrw=randread\ninclude z.inc\n"),
        ("d/more/z.inc", b"bs=8k\n"),
    ];
    let groups = with(&files, &[("SIZE", "8m")], |world| groups(Path::new("d/x.fio"), world)).unwrap();
    let told = groups[0].told();
    assert_eq!(told["job"], "[a]; rw=randread; bs=8k; size=8m");
    assert_eq!((told["includes"].as_str(), told["variables"].as_str()), ("d/more/y.inc, d/more/z.inc", "SIZE=8m"));
    assert_eq!((told["file"].as_str(), told["block_size_bytes"].as_str()), ("x.fio", "8192"));
}

#[test]
fn what_is_wrong_is_said_with_file_and_line() {
    let long = format!("[a]\ndescription={}\n", "x".repeat(5000));
    let sections: String = (0..500).map(|n| format!("[s{n}]\nrw=read\n")).collect();
    for (text, place, said) in [
        ("", "x.fio:1: ", "no job"),
        ("; nothing\n\n", "x.fio:1: ", "no job"),
        ("[global]\nbs=4k\n", "x.fio:1: ", "no job"),
        ("\u{feff}[a]\nrw=read\n", "x.fio:1: ", "byte order mark"),
        ("rw=read\n[a]\n", "x.fio:1: ", "before the first [section]"),
        ("[a]\r\n\r\nspeed=fast\r\n", "x.fio:3: ", "`speed` is refused"),
        ("[a]\nrw=read\nexec_prerun=reboot\n", "x.fio:3: ", "executes a program as root"),
        ("[a\n", "x.fio:1: ", "is no section"),
        ("[]\n", "x.fio:1: ", "is no section"),
        ("[a]\nsize=${NO_SUCH}\n", "x.fio:2: ", "`NO_SUCH` is not set"),
        ("[a]\nsize=${ODD}\n", "x.fio:2: ", "takes for its own"),
        ("[a]\nsize=$mb_memory\n", "x.fio:2: ", "$mb_memory"),
        ("[a]\nnumjobs=$ncpus\n", "x.fio:2: ", "another number in each environment"),
        ("[a]\nsize=(1g*2)\n", "x.fio:2: ", "cannot be read"),
        ("[a]\niodepth=0\n", "x.fio:2: ", "above 0"),
        ("[a]\nruntime=soon\n", "x.fio:2: ", "cannot be read"),
        ("[a]\ninclude y\n", "x.fio:2: ", "reading y"),
        ("[a]\ndescription=\u{7}\n", "x.fio:2: ", "U+0007"),
        (&long, "x.fio:2: ", "for two"),
        (&sections, "x.fio:513: ", "256 sections at most"),
    ] {
        let error = of(text).unwrap_err();
        assert!(error.starts_with(place) && error.contains(said), "{text:?}: {error}");
    }
    let raw = |bytes: &[u8]| with(&[("x", bytes)], &[], |world| groups(Path::new("x"), world)).unwrap_err().to_string();
    assert_eq!(raw(b"[a]\nname=\xff\n"), "x:2: it is no text in UTF-8");
    assert!(raw(&vec![b'\n'; 10 << 20]).starts_with("x:1: x makes it 10485760 bytes"), "however it was read");
    let nested = with(&[("x", b"[a]\ninclude x\n")], &[], |world| groups(Path::new("x"), world));
    assert!(nested.unwrap_err().to_string().contains("no sections"));
    let endless =
        with(&[("x", b"[a]\ninclude y\n"), ("y", b"include y\n")], &[], |world| groups(Path::new("x"), world));
    assert!(endless.unwrap_err().to_string().contains("more than 8 deep"));
}

#[test]
fn a_file_of_ten_mebibytes_is_not_even_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.fio");
    std::fs::write(&path, vec![b'#'; 10 << 20]).unwrap();
    let error = workloads(&path).unwrap_err().to_string();
    assert!(error.contains("large.fio:1: ") && error.contains("64 KiB"), "{error}");
}

#[test]
fn what_a_job_is_about_follows_from_what_it_does() {
    for (options, metric) in [
        ("rw=write\nioengine=sync\nfdatasync=1\nbs=2300\nsize=22m", "sync_latency_p99_ns"),
        ("rw=randwrite\nfsync=8", "sync_latency_p99_ns"),
        ("rw=randread\nbs=4k\ndirect=1", "iops"),
        ("rw=read\nbs=64k", "bandwidth_bytes_per_s"),
        ("rw=readwrite\nbs=1m", "bandwidth_bytes_per_s"),
        ("rw=read\nbs=4k", "iops"),
        ("rw=randread\nbs=1m", "iops"),
        ("rw=write\nbssplit=64k/50:1m/50", "iops"),
        ("rw=randread\nrate_iops=20000", "read_latency_p99_ns"),
        ("rw=randwrite\nrate=1m", "write_latency_p99_ns"),
        ("rw=write\nfdatasync=1\ngtod_reduce=1", "iops"),
    ] {
        let job = only(&format!("[a]\n{options}\n"));
        assert_eq!(job.yields()[0], metric, "{options}");
        assert_eq!(job.yields().iter().filter(|one| **one == metric).count(), 1);
        for metric in job.yields() {
            assert!(bench_results::metric::find(metric).is_some(), "{metric}");
        }
    }
}

#[test]
fn bytes_are_held_against_the_disks_only_where_fio_counts_them_all() {
    for (options, why) in [
        ("direct=1", ""),
        ("buffered=0", ""),
        ("rw=read", "page cache"),
        ("direct=1\nbuffered=1", "page cache"),
        ("direct=1\nrw=write\nverify=crc32c", "verified"),
        ("direct=1\nrw=randtrim", "trims"),
        ("direct=1\nramp_time=2", "ramp_time"),
        ("direct=1\nfdatasync=1", "journal"),
    ] {
        let reason = only(&format!("[a]\n{options}\n")).unaccounted();
        assert!(
            reason.map_or(why.is_empty(), |reason| !why.is_empty() && reason.contains(why)),
            "{options}: {reason:?}"
        );
    }
}

#[test]
fn the_target_is_as_large_as_the_jobs_reach() {
    let reach = |options: &str| only(&format!("[a]\n{options}\n")).target_bytes();
    assert_eq!(reach("size=22m"), Some(22 << 20));
    assert_eq!(reach("size=1g\noffset=1m\noffset_increment=2m\nnumjobs=4"), Some((1 << 30) + (7 << 20)));
    assert_eq!(reach("size=1gb"), Some(1 << 30));
    assert_eq!(reach("size=1gib"), Some(1_000_000_000), "fio turns it round");
    assert_eq!((reach("size=50%"), reach("rw=read")), (None, None));
}

#[test]
fn who_ends_by_size_gets_time_for_it() {
    let seconds = |options: &str| job_at(&only(&format!("[a]\n{options}\n")), "/t").deadline_ns as f64 / 1e9;
    assert_eq!(seconds("runtime=10\nramp_time=5\ntime_based"), 75.0);
    assert!(seconds("size=22m\nbs=2300\nfdatasync=1") > 500.0, "10,000 syncs of 50 ms");
    assert!(seconds("rate_iops=10\nsize=4m\nbs=4k") > 300.0);
    assert!(seconds("size=64m\nbs=1m") < 100.0);
    assert!(seconds("loops=18446744073709551615\nnumjobs=1000").is_finite());
}

#[test]
fn a_suite_names_a_file_beside_it_and_a_section_where_there_are_several() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("jobs.fio"), SEVERAL).unwrap();
    std::fs::write(folder.path().join("one.fio"), "[a]\nrw=randread\n").unwrap();
    let parse = |keys: &str| {
        let text = format!(
            "name = \"mine\"\ntitle = \"\"\nenvironments = [\"native\"]\n[[workload]]\nname = \"w\"\ntitle = \"\"\nkind = \"fio-job\"\n\
             {keys}\n[[profile]]\nname = \"quick\"\nblocks = 3\nruntime = \"1s\"\nwarm-up = \"0s\"\nsettle = \"0s\"\nsize = \"64MiB\"\n\
             margin = \"5%\"\nverdicts = true\n"
        );
        let file = folder.path().join("mine.toml").display().to_string();
        crate::Suite::parse(&text, &file, &crate::AnyKind).map_err(|e| e.to_string().replace(&file, "mine.toml"))
    };
    let deciding = |keys: &str| parse(keys).unwrap().workloads[0].record(Vec::new()).deciding;
    assert_eq!(deciding("file = \"one.fio\""), "iops");
    assert_eq!(deciding("file = \"one.fio\"\ndeciding = \"read_latency_p99_ns\""), "read_latency_p99_ns");
    assert_eq!(deciding("file = \"jobs.fio\"\nsection = \"four\""), "bandwidth_bytes_per_s");
    for (keys, said) in [
        ("", "mine.toml:5:8: workload `w` needs `file`"),
        ("file = \"jobs.fio\"", "mine.toml:8:8: name one `section` of those that start a group: one, two, four"),
        ("file = \"jobs.fio\"\nsection = \"three\"", "mine.toml:9:11: name one `section`"),
        ("file = \"none.fio\"", "mine.toml:8:8: "),
        ("file = \"one.fio\"\niodepth = 4", "mine.toml:9:1: unknown field `iodepth`"),
    ] {
        let error = parse(keys).unwrap_err();
        assert!(error.starts_with(said), "{keys}: {error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = with(&[("x", &bytes)], &[], |world| groups(Path::new("x"), world));
    }

    /// Whatever is taken comes out as lines of known options, the target's among them once for each job.
    #[test]
    fn what_is_taken_drives_the_target_alone(
        text in "((\\[[a-z]{1,6}\\]|(rw|bs|size|offset|runtime|filename|ioengine|loops|rate|direct)( ?= ?|=)[a-z0-9%/:.-]{0,6}|stonewall|[#;\\[$=].{0,5})\r?\n){0,30}"
    ) {
        let Ok(groups) = with(&[("x", text.as_bytes())], &[], |world| groups(Path::new("x"), world)) else { return Ok(()) };
        for group in groups {
            let lines = text_of(&group);
            let names = lines.lines().filter(|line| line.starts_with("filename")).collect::<Vec<_>>();
            prop_assert_eq!(names, vec!["filename=/t\\:1"; group.meanings.len()]);
            for line in lines.lines().filter(|line| !line.starts_with('[')) {
                prop_assert!(options::find(line.split('=').next().unwrap_or_default()).is_some(), "{}", line);
            }
            prop_assert!(job_at(&group, "/t").deadline_ns > 0);
        }
    }
}
