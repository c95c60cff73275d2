//! The forms that fio's output has had since 3.1 (stat.c and json.c of its tags), and what must not be believed in any of them.
//! They are made of the real output of 3.33.

use fio_rs::{Failure, Output, Traffic, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

const GOOD: &str = include_str!("golden/good.out");

fn good() -> Value {
    serde_json::from_str(GOOD).unwrap()
}

/// The real result with something done to its jobs `warm-up` and `measured`.
fn with(change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let mut all = good();
    let [warm_up, measured] = all["jobs"].as_array_mut().unwrap().as_mut_slice() else { panic!("two jobs") };
    change(warm_up, measured);
    serde_json::to_string_pretty(&all).unwrap()
}

/// The same with something done to the measured reads.
fn with_reads(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
    with(|_, measured| change(measured["read"].as_object_mut().unwrap()))
}

fn read(text: &str) -> Output {
    parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e} in {text}"))
}

fn reads(text: &str) -> Traffic {
    read(text).check(0, "measured").unwrap().read.clone()
}

fn off(a: f64, b: f64) -> f64 {
    (a / b - 1.0).abs()
}

/// Real output of the oldest and the newest.
#[test]
fn every_version_tells_the_same() {
    let (old, new) = (include_str!("golden/good-3.1.out"), include_str!("golden/good-3.42.out"));
    assert!(!old.contains("bw_bytes") && !old.contains("\"N\"") && new.contains("job_start"));
    for (text, version) in [(old, "fio-3.1"), (GOOD, "fio-3.33"), (new, "fio-3.42")] {
        let output = read(text);
        assert_eq!(output.version, version);
        let job = output.check(0, "measured").unwrap();
        let reads = &job.read;
        assert!(
            job.write.told && reads.told && reads.unread.is_empty() && !job.is_odd,
            "{version}: {:?}",
            reads.unread
        );
        let seconds = reads.runtime_ms as f64 / 1e3;
        assert!(off(reads.bw_bytes, reads.io_bytes as f64 / seconds) < 1e-3, "{version}: {}", reads.bw_bytes);
        assert!(off(reads.iops, reads.total_ios as f64 / seconds) < 1e-3, "{version}: {}", reads.iops);
        assert_eq!(reads.clat_ns.bins.iter().map(|&(_, count)| count).sum::<u64>(), reads.total_ios, "{version}");
        assert!(reads.clat_ns.mean > 0.0 && job.majf.is_some() && job.iodepth_level.len() == 7, "{version}");
    }
}

#[test]
fn fio_3_1_has_no_bandwidth_in_bytes() {
    let now = reads(GOOD);
    let strip = |reads: &mut serde_json::Map<String, Value>| {
        for field in ["bw_bytes", "slat_ns", "lat_ns"] {
            reads.remove(field);
        }
        reads["clat_ns"].as_object_mut().unwrap().remove("N");
    };
    let then = reads(&with_reads(strip).replace("fio-3.33", "fio-3.1"));
    assert!(off(then.bw_bytes, now.bw_bytes) < 1e-6, "{} of {}", then.bw_bytes, now.bw_bytes);
    assert_eq!((then.unread.len(), then.clat_ns.bins.len()), (0, now.clat_ns.bins.len()));
    // In KiB, when nothing else is left.
    let only_bw = with_reads(|reads| {
        strip(reads);
        reads.remove("io_bytes");
        reads.remove("io_kbytes");
    });
    assert!(off(reads(&only_bw).bw_bytes, now.bw_bytes) < 1e-3);
    // A 0 beside bytes that were moved is no bandwidth either, and no rate.
    let zeros = reads(&with_reads(|reads| (reads["bw_bytes"], reads["iops"]) = (json!(0), json!(0.0))));
    assert!(off(zeros.bw_bytes, now.bw_bytes) < 1e-6 && off(zeros.iops, now.iops) < 1e-6, "{zeros:?}");
}

/// fio 3.1 to 3.3 fill the list of percentiles up with the same key; axboe/fio#511.
#[test]
fn fields_may_come_twice() {
    let text = GOOD.replace("\"50.000000\" :", "\"0.00\" : 0,\n\"0.00\" : 0,\n\"50.000000\" :");
    assert_ne!(text, GOOD);
    assert_eq!(read(&text).jobs, read(GOOD).jobs);
    let text = GOOD.replace("\"groupid\" : 1,", "\"groupid\" : 1,\n\"error\" : 0,\n\"error\" : 0,");
    assert_eq!(read(&text).jobs, read(GOOD).jobs);
}

/// C prints these for a division by 0, and the numbers of a locale with a decimal comma.
#[test]
fn tokens_that_are_no_json_cost_only_their_own_field() {
    let now = reads(GOOD);
    for token in ["nan", "-nan", "inf", "-inf", "NaN", "Infinity", "-nan(0x8000000000000)"] {
        let text = GOOD.replace("\"bw_agg\" : 0.000000", &format!("\"bw_agg\" : {token}"));
        assert_ne!(text, GOOD);
        assert_eq!(reads(&text), now, "{token}");
        let text = GOOD.replace(&format!("\"iops\" : {:.6}", now.iops), &format!("\"iops\" : {token}"));
        assert_ne!(text, GOOD);
        assert!(off(reads(&text).iops, now.iops) < 1e-6, "{token}");
    }
    let text = GOOD.replace("\" : 0.000000", "\" : 0,000000");
    assert_ne!(text, GOOD);
    assert_eq!(reads(&text), now);
    assert_eq!(reads(&GOOD.replace(&format!("{:.6}", now.iops), &format!("{:.6}", now.iops).replace('.', ","))), now);
}

#[test]
fn numbers_may_be_strings() {
    let now = reads(GOOD);
    let text = with_reads(|reads| {
        for field in ["io_bytes", "bw_bytes", "runtime", "total_ios"] {
            reads[field] = json!(reads[field].to_string());
        }
        reads["iops"] = json!("22683,168317");
    });
    assert_eq!(reads(&text), now);
}

/// Names come from job files: raw bytes, tabs, quotes.
#[test]
fn names_may_be_anything() {
    let named = |name: &[u8]| {
        let (before, after) = GOOD.split_once("warm-up").unwrap();
        let text = [before.as_bytes(), name, after.as_bytes()].concat();
        parse(&text).unwrap().jobs.swap_remove(0).name
    };
    assert_eq!(named(b"a\tb"), "a\tb");
    assert_eq!(named(b"a\x01b"), "a\u{1}b");
    assert_eq!(named(br#"a\"b\\c"#), "a\"b\\c");
    assert_eq!(named(br"C:\data"), r"C:\data");
    assert_eq!(named(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    assert_eq!(named("größe".as_bytes()), "größe");
    let numbers = with(|warm_up, _| warm_up["jobname"] = json!(7));
    assert_eq!(read(&numbers).jobs[0].name, "7");
}

#[test]
fn one_odd_job_hides_no_other_one() {
    let now = reads(GOOD);
    for odd in [Value::Null, json!([]), json!({}), json!("x"), json!(-1), json!(true), json!([[1]])] {
        for field in
            ["read", "write", "trim", "sync", "jobname", "job options", "iodepth_level", "usr_cpu", "latency_us"]
        {
            let text = with(|warm_up, _| warm_up[field] = odd.clone());
            assert_eq!(reads(&text), now, "{field}: {odd}");
        }
        let text = with(|warm_up, _| warm_up["read"]["clat_ns"] = odd.clone());
        assert_eq!(reads(&text), now, "{odd}");
        let text = with(|warm_up, _| *warm_up = odd.clone());
        let checked = read(&text).check(0, "measured").map(|job| job.read.clone());
        match odd {
            Value::Object(_) => assert_eq!(checked.unwrap(), now, "a job that says nothing failed with nothing"),
            odd => assert!(matches!(checked, Err(Failure::Unread { .. })), "{odd}: whether it failed is not known"),
        }
    }
}

#[test]
fn the_error_of_another_job_is_told() {
    for error in [json!(5), json!(-5), json!("5"), json!(5.0)] {
        let text = with(|warm_up, measured| {
            (warm_up["error"], warm_up["write"]) = (error, Value::Null);
            measured["read"] = Value::Null;
        });
        let failure = read(&text).check(1, "measured").unwrap_err();
        assert_eq!(failure.to_string(), "fio job `warm-up` failed: Input/output error");
    }
    let failure = read(&with(|warm_up, _| warm_up["error"] = json!("many"))).check(0, "measured").unwrap_err();
    assert_eq!(failure.to_string(), "fio-3.33 does not say `error` of job `warm-up`, or not as a number");
    // With `continue_on_error` a job that failed in between has the error 0.
    let text = with(|_, measured| (measured["total_err"], measured["first_error"]) = (json!(12), json!(5)));
    assert!(read(&text).check(0, "measured").unwrap_err().to_string().contains("Input/output error"));
}

#[test]
fn what_was_not_told_is_no_zero() {
    for (field, odd) in [("total_ios", json!(-4)), ("total_ios", json!(null)), ("total_ios", json!({}))] {
        let text = with(|_, measured| {
            measured["read"][field] = odd;
            measured["write"] = json!({"total_ios": 0});
        });
        let failure = read(&text).check(0, "measured").unwrap_err();
        assert_eq!(failure.to_string(), "fio-3.33 does not say `read.total_ios` of job `measured`, or not as a number");
    }
    let text = with_reads(|reads| {
        ["io_bytes", "io_kbytes", "bw", "bw_bytes"].iter().for_each(|field| drop(reads.remove(*field)));
    });
    let told = reads(&text);
    assert!(told.has("iops") && !told.has("bw_bytes") && !told.has("io_bytes"), "{:?}", told.unread);
    let text = with_reads(|reads| (reads["iops"], reads["runtime"]) = (json!(-1.0), json!(0)));
    assert!(!reads(&text).has("iops"));
}

#[test]
fn reads_and_writes_may_be_counted_together() {
    let together = |keep: bool| {
        with(|_, measured| {
            measured["mixed"] = measured["read"].clone();
            measured["mixed"]["total_ios"] = json!(3224);
            if !keep {
                let job = measured.as_object_mut().unwrap();
                job.remove("read");
                job.remove("write");
            }
        })
    };
    let only = read(&together(false));
    let job = only.check(0, "measured").unwrap();
    assert_eq!((job.total_ios(), job.read.told, job.mixed.told), (3224, false, true));
    // `unified_rw_reporting=both`
    assert_eq!(read(&together(true)).check(0, "measured").unwrap().total_ios(), 3224);
    let trims = "{\"fio version\": \"fio-3.33\", \"jobs\": [{\"jobname\": \"x\", \"trim\": {\"total_ios\": 3}}]}";
    assert_eq!(read(trims).check(0, "x").unwrap().total_ios(), 3);
}

#[test]
fn jobs_that_are_not_added_up_are_refused() {
    let mut all = good();
    let again = all["jobs"][1].clone();
    all["jobs"].as_array_mut().unwrap().push(again);
    let failure = read(&all.to_string()).check(0, "measured").unwrap_err();
    assert!(failure.to_string().starts_with("fio-3.33 reported 2 jobs `measured`"), "{failure}");
}

#[test]
fn a_fio_with_other_units_is_refused() {
    for (version, is_refused) in [
        ("fio-2.16", true),
        ("fio-2.99", true),
        ("fio-1.59", true),
        ("fio-3.0", false),
        ("fio-3.42-135-gabc", false),
        ("fio-10.1", false),
        ("mine", false),
    ] {
        let checked = read(&GOOD.replace("fio-3.33", version)).check(0, "measured").map(drop);
        assert_eq!(
            matches!(&checked, Err(Failure::TooOld { fio }) if fio == version),
            is_refused,
            "{version}: {checked:?}"
        );
    }
}

/// `--client` has another name for the jobs, and one job may stand where a list should.
#[test]
fn jobs_have_other_names_and_forms() {
    let text = GOOD.replace("\"jobs\"", "\"client_stats\"");
    assert_eq!(read(&text).jobs, read(GOOD).jobs);
    let mut one = good();
    one["jobs"] = one["jobs"][1].clone();
    assert_eq!(reads(&one.to_string()), reads(GOOD));
}

#[test]
fn of_several_results_the_last_one_counts_and_has_to_be_whole() {
    let early = with(|_, measured| measured["read"]["total_ios"] = json!(1));
    let both = format!("{early}\nnote: a note\n{GOOD}");
    assert_eq!(read(&both).jobs, read(GOOD).jobs);
    assert_eq!(read(&both).diagnostics, ["note: a note"]);
    assert_eq!(read(&format!("{}{}", early.trim(), GOOD.trim())).jobs, read(GOOD).jobs);
    let torn = parse(format!("{early}\n{}", &GOOD[..GOOD.len() / 2]).as_bytes()).unwrap_err();
    assert_eq!((torn.torn, torn.fault.as_str()), (true, "the result of fio-3.33 breaks off"));
    let other = format!("{GOOD}\n{{\"a\": 1}}\n");
    assert_eq!(read(&other).jobs, read(GOOD).jobs);
}

#[test]
fn notes_may_stand_amid_the_result() {
    let text =
        GOOD.replace("      \"error\" : 0,\n", "      \"error\" : 0,\nfio: a \"note\" {of} one, and more\nhint: so\n");
    let output = read(&text);
    assert_eq!(output.jobs, read(GOOD).jobs);
    assert_eq!(output.diagnostics[..2], ["fio: a \"note\" {of} one, and more", "hint: so"]);
    let text = format!("warning: {{ and \"\n\u{feff}{GOOD}");
    assert_eq!(read(&text).jobs, read(GOOD).jobs);
}

/// The complaint is the real one: not a note, and not a path with such a word in it.
#[test]
fn the_real_complaint_is_picked() {
    const NOTES: &str = "fio: multiple writers may overwrite blocks that belong to other jobs. This can cause verification failures.\n\
        note: both iodepth >= 1 and synchronous I/O engine are selected, queue depth will be capped at 1\n\
        fio: file /srv/terraform/failed/err=5/disk exceeds 32-bit tausworthe random generator.\n\
        fio: Switching to tausworthe64. Use the random_generator= option to get rid of this warning.\n\
        fio: native_fallocate call failed: Operation not supported\n\
        measured: (groupid=0, jobs=1): err= 0: pid=7\n";
    for (errno, status, line) in [
        (5, 1, "fio: io_u error on file /srv/terraform/disk: Input/output error: read offset=1048576, buflen=4096"),
        (5, 1, "fio: pid=4242, err=5/file:io_u.c:1876, func=io_u error, error=Input/output error"),
        (28, 1, "fio: pid=1, err=28/file:x.c:1, func=full, error=No space left on device"),
        (0, 1, "fio: engine libaio not loadable"),
        (0, 1, "fio: failed to allocate I/O buffers"),
        (0, 2, "fio: job startup hung? exiting."),
        (0, 1, "fio: open(/srv/failures/x): Permission denied"),
        (0, 1, "fio: Error in configuration"),
    ] {
        for text in [format!("{NOTES}{line}\n"), format!("{line}\n{NOTES}")] {
            let job = json!({"fio version": "fio-3.33", "jobs": [{"jobname": "measured", "error": errno}]});
            let failure = read(&format!("{text}{job}")).check(status, "measured").unwrap_err();
            assert!(failure.to_string().ends_with(line), "{failure}");
        }
    }
    // Where nothing but notes is there, the number speaks.
    let job = json!({"jobs": [{"jobname": "measured", "error": 5}]});
    let failure = read(&format!("{NOTES}{job}")).check(1, "measured").unwrap_err();
    assert_eq!(failure.to_string(), "fio job `measured` failed: Input/output error");
    // The words of this error come before an earlier one.
    let two = "fio: pid=1, err=13/file:x.c:1, func=open, error=Permission denied\nfio: pid=2, err=5/file:x.c:1, func=y, error=Input/output error\n";
    let failure = read(&format!("{two}{job}")).check(1, "measured").unwrap_err();
    assert!(failure.to_string().contains("pid=2"), "{failure}");
}

/// All places of a document, as paths.
fn places(value: &Value, path: &str, all: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => return,
    };
    for (key, child) in children {
        let path = format!("{path}/{key}");
        places(child, &path, all);
        all.push(path);
    }
}

fn odd_values() -> impl Strategy<Value = Value> {
    let number = prop_oneof![Just(0.0), Just(-1.0), Just(1e40), any::<f64>().prop_filter("finite", |x| x.is_finite())];
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}, null, 1])),
        Just(json!({"total_ios": "7", "iops": []})),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        number.prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ]
}

proptest! {
    /// One value of any type in any place: what it does not belong to is read as before, or the whole is refused.
    #[test]
    fn an_odd_value_costs_only_its_own_field(at in any::<prop::sample::Index>(), odd in odd_values()) {
        let mut all = good();
        let mut paths = Vec::new();
        places(&all, "", &mut paths);
        let path = at.get(&paths);
        *all.pointer_mut(path).unwrap() = odd;
        let Ok(output) = parse(all.to_string().as_bytes()) else {
            return Err(TestCaseError::fail(format!("{path} hides everything")));
        };
        let clean = parse(GOOD.as_bytes()).unwrap();
        if !path.starts_with("/jobs") {
            prop_assert_eq!(&output.jobs, &clean.jobs);
        }
        if !path.starts_with("/jobs/1") && path != "/jobs" && !path.ends_with("/jobname") {
            prop_assert_eq!(output.job("measured"), clean.job("measured"), "{}", path);
        }
        if let Ok(job) = output.check(0, "measured") {
            for traffic in [&job.read, &job.write].into_iter().filter(|traffic| traffic.total_ios > 0) {
                prop_assert!(!traffic.has("iops") || traffic.iops > 0.0, "{}: {:?}", path, traffic);
                prop_assert!(!traffic.has("bw_bytes") || traffic.bw_bytes > 0.0 || traffic.io_bytes == 0, "{}: {:?}", path, traffic);
            }
        }
    }
}
