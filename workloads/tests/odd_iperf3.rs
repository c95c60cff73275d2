//! The forms that iperf3's output has had since 3.0 (iperf_api.c of its tags), made of the real output of 3.12: the rate counts,
//! or the trial is refused; what cannot be told is absent.

use bench_agent::{Bytes, JobOutput, JobStatus, Rusage};
use bench_workloads::{Measured, Suite, Workload};
use proptest::prelude::*;
use serde_json::{Value, json};

const GOOD: &str = include_str!("golden/iperf3-good.json");

fn stream() -> Workload {
    let suite = Suite::builtin("network").unwrap();
    suite.workloads.into_iter().find(|workload| workload.name() == "tcp-stream-tx").unwrap()
}

fn measure(stdout: &[u8]) -> Result<Measured, String> {
    let output = JobOutput {
        status: JobStatus::Exited(0),
        stdout: Bytes(stdout.to_vec()),
        stderr: Bytes::default(),
        files: Vec::new(),
        started_ns: 0,
        ended_ns: 1,
        rusage: Rusage::default(),
    };
    stream().measure(&output)
}

fn good() -> Value {
    serde_json::from_str(GOOD).unwrap()
}

/// The real result with something done to it.
fn with(change: impl FnOnce(&mut Value)) -> Result<Measured, String> {
    let mut all = good();
    change(&mut all);
    measure(serde_json::to_string_pretty(&all).unwrap().as_bytes())
}

fn rate(measured: &Measured) -> f64 {
    assert_eq!(measured.measurements[0].metric, "bandwidth_bytes_per_s");
    measured.measurements[0].value
}

fn now() -> Measured {
    measure(GOOD.as_bytes()).unwrap()
}

/// Real output of old and new versions, one second after one that is omitted.
#[test]
fn every_version_tells_the_same() {
    for (text, bits_per_second, retransmits) in [
        (include_str!("golden/iperf3-3.0.12.json"), 13299420000.0, 0),
        (include_str!("golden/iperf3-3.1.3.json"), 9777103000.0, 6),
        (include_str!("golden/iperf3-3.19.json"), 12839659009.463842, 5),
        (include_str!("golden/iperf3-3.19-stream.json"), 18392234318.974064, 2),
    ] {
        let measured = measure(text.as_bytes()).unwrap();
        assert!((rate(&measured) * 8.0 / bits_per_second - 1.0).abs() < 1e-9, "{}", rate(&measured));
        assert_eq!(measured.facts["iperf3.retransmits"], retransmits);
        let (omitted, seconds) = (measured.seconds.0.unwrap(), measured.seconds.1.unwrap());
        assert!((0.99..1.01).contains(&omitted) && (0.99..1.01).contains(&seconds), "{omitted} {seconds}");
    }
}

#[test]
fn retransmits_that_the_system_cannot_tell_are_absent() {
    for odd in [
        json!(-1),
        json!(-2),
        json!(4_294_967_295_u64),
        json!(4_294_967_294_u64),
        json!(u64::MAX),
        json!(u64::MAX - 1),
        json!(i64::MIN),
        json!(null),
        json!("-1"),
        json!([]),
        json!(0.5),
    ] {
        let measured = with(|all| all["end"]["sum_sent"]["retransmits"] = odd.clone()).unwrap();
        assert_eq!((rate(&measured), measured.facts.get("iperf3.retransmits")), (rate(&now()), None), "{odd}");
        let measured = with(|all| {
            for interval in all["intervals"].as_array_mut().unwrap() {
                interval["sum"]["retransmits"] = odd.clone();
                interval["streams"][0]["retransmits"] = odd.clone();
            }
        });
        assert_eq!(measured.unwrap().seconds, now().seconds, "{odd}");
    }
    let many = with(|all| all["end"]["sum_sent"]["retransmits"] = json!("70000")).unwrap();
    assert_eq!(many.facts["iperf3.retransmits"], 70_000);
}

#[test]
fn a_rate_that_is_not_told_is_worked_out_or_refused() {
    for odd in [json!(null), json!(0), json!(-1.0), json!("nan"), json!({})] {
        let measured = with(|all| all["end"]["sum_received"]["bits_per_second"] = odd.clone()).unwrap();
        assert!((rate(&measured) / rate(&now()) - 1.0).abs() < 1e-3, "{odd}: {}", rate(&measured));
        let said = with(|all| {
            all["end"]["sum_received"]["bits_per_second"] = odd.clone();
            all["end"]["sum_received"]["bytes"] = odd.clone();
        });
        assert!(said.as_ref().unwrap_err().ends_with("(`end.sum_received` of iperf 3.12)"), "{odd}: {said:?}");
    }
    // One stream is as good as its sum; two are not.
    let one = with(|all| drop(all["end"].as_object_mut().unwrap().remove("sum_received"))).unwrap();
    assert!((rate(&one) / rate(&now()) - 1.0).abs() < 1e-3);
    let two = with(|all| {
        let stream = all["end"]["streams"][0].clone();
        all["end"]["streams"].as_array_mut().unwrap().push(stream);
        all["end"].as_object_mut().unwrap().remove("sum_received");
    });
    assert!(two.unwrap_err().contains("received nothing, or does not tell"));
    // What was sent may be lost on the way.
    let only_sent = with(|all| {
        let sent = all["end"]["sum_sent"].clone();
        all["end"] = json!({"sum_sent": sent, "sum": sent});
    });
    assert!(only_sent.unwrap_err().contains("iperf 3.12"));
}

#[test]
fn odd_parts_hide_nothing_else() {
    for odd in [json!(null), json!([]), json!({}), json!("x"), json!(7), json!(false)] {
        for field in ["start", "intervals", "title", "server_output_json"] {
            assert_eq!(rate(&with(|all| all[field] = odd.clone()).unwrap()), rate(&now()), "{field}: {odd}");
        }
        let measured = with(|all| all["intervals"][0] = odd.clone()).unwrap();
        assert_eq!(rate(&measured), rate(&now()), "{odd}");
        for field in ["streams", "sum"] {
            let measured = with(|all| all["intervals"][0][field] = odd.clone()).unwrap();
            assert_eq!(rate(&measured), rate(&now()), "{field}: {odd}");
        }
        assert!(with(|all| all["end"] = odd.clone()).is_err(), "{odd}");
    }
    let no_intervals = with(|all| all["intervals"] = json!(null)).unwrap();
    assert_eq!(no_intervals.seconds.0, None, "not told is not 0 s of warm-up");
    let no_sums = with(|all| {
        all["intervals"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|interval| drop(interval.as_object_mut().unwrap().remove("sum")));
    });
    assert_eq!(no_sums.unwrap().seconds, now().seconds, "the streams tell it, too");
}

/// cJSON of iperf3 before 3.2 prints these; later ones print `null`.
#[test]
fn tokens_that_are_no_json_are_tolerated() {
    for token in ["nan", "-nan", "inf"] {
        let text = GOOD.replace("\"host_total\":", &format!("\"odd\": {token}, \"host_total\":"));
        assert_ne!(text, GOOD);
        assert_eq!(rate(&measure(text.as_bytes()).unwrap()), rate(&now()), "{token}");
    }
}

#[test]
fn errors_of_every_form_are_failures() {
    for (error, said) in [
        (json!("unable to connect"), "iperf3: unable to connect"),
        (json!(""), "iperf3: an error that it does not name"),
        (json!(7), "iperf3: 7"),
        (json!({"code": 7}), "iperf3: "),
    ] {
        assert!(with(|all| all["error"] = error.clone()).unwrap_err().starts_with(said), "{error}");
    }
    assert!(with(|all| all["error"] = json!(null)).is_ok());
    // iperf3 can add a second one to the first.
    let twice = "{\"start\": {}, \"end\": {}, \"error\": \"the cause\", \"error\": \"the end\"}";
    assert_eq!(measure(twice.as_bytes()).unwrap_err(), "iperf3: the cause");
}

#[test]
fn warnings_stand_before_and_after() {
    for text in [
        format!("warning: this {{ is \"one\n{GOOD}"),
        format!("{GOOD}\niperf3: done {{}}\n"),
        format!("{GOOD}\n{{}}\n"),
        format!("WARNING: Size of data read does not correspond to offered length\n\n{GOOD}"),
    ] {
        assert_eq!(rate(&measure(text.as_bytes()).unwrap()), rate(&now()));
    }
}

/// `--json-stream` of 3.17 and later: an object a line.
#[test]
fn a_stream_of_events_is_read() {
    let all = good();
    let event = |name: &str, data: &Value| json!({"event": name, "data": data}).to_string() + "\n";
    let mut text = event("start", &all["start"]);
    text.extend(all["intervals"].as_array().unwrap().iter().map(|interval| event("interval", interval)));
    let before_the_end = text.clone();
    text += &event("end", &all["end"]);
    let measured = measure(text.as_bytes()).unwrap();
    assert_eq!((rate(&measured), measured.seconds), (rate(&now()), now().seconds));
    assert!(measure(before_the_end.as_bytes()).unwrap_err().contains("iperf 3.12"), "it ended early");
    let failed = before_the_end + &event("error", &json!("interrupt")) + &event("end", &json!({}));
    assert_eq!(measure(failed.as_bytes()).unwrap_err(), "iperf3: interrupt");
    // `--json-stream-full-output`
    assert_eq!(rate(&measure((text + GOOD).as_bytes()).unwrap()), rate(&now()));
}

proptest! {
    #[test]
    fn no_truncation_counts(end in 0..GOOD.trim_end().len()) {
        let said = measure(&GOOD.as_bytes()[..end]).unwrap_err();
        prop_assert!(end < 1000 || said.starts_with("iperf 3.12 exited with status 0 and printed no result"), "{}", said);
    }

    #[test]
    fn no_damage_makes_it_panic_or_count_nothing(at in 0..GOOD.len(), bytes in proptest::collection::vec(any::<u8>(), 0..8), cut in 0..40_usize) {
        let mut text = GOOD.as_bytes().to_vec();
        text.splice(at..(at + cut).min(GOOD.len()), bytes);
        if let Ok(measured) = measure(&text) {
            let value = rate(&measured);
            prop_assert!(value > 0.0 && value.is_finite(), "{}", value);
        }
    }
}
