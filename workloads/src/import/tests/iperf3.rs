//! iperf3's forms, directions and options.

use super::*;

const BIDIR: &str = include_str!("../../../tests/golden/iperf3-bidir.json");
const UDP: &str = include_str!("../../../tests/golden/iperf3-udp.json");

#[test]
fn iperf3_is_read_in_all_its_forms() {
    for (text, version, name) in [
        (include_str!("../../../tests/golden/iperf3-3.0.12.json"), "iperf 3.0.12", "tcp-transmit"),
        (include_str!("../../../tests/golden/iperf3-3.1.3.json"), "iperf 3.1.3", "tcp-transmit"),
        (include_str!("../../../tests/golden/iperf3-good.json"), "iperf 3.12", "tcp-transmit"),
        (include_str!("../../../tests/golden/iperf3-paced-reverse.json"), "iperf 3.12", "tcp-receive"),
        (IPERF3, "iperf 3.19", "tcp-transmit"),
        (include_str!("../../../tests/golden/iperf3-3.19-stream.json"), "iperf 3.19", "tcp-transmit"),
    ] {
        let file = read(text);
        let [Results { tool: Tool::Iperf3, version: found, workloads, .. }] = &file.results[..] else {
            panic!("{name}")
        };
        assert_eq!((found.as_str(), workloads[0].name.as_str()), (version, name));
        assert!(value(only(&workloads[0]), "bandwidth_bytes_per_s").unwrap() > 1e6);
    }
    let file = read(IPERF3);
    assert_eq!(only(&file.results[0].workloads[0]).measured.facts["iperf3.retransmits"], json!(5));
    let stream = include_str!("../../../tests/golden/iperf3-3.19-stream.json");
    assert_eq!(read(format!("{stream}{stream}")).results.len(), 2);
    let torn: String = stream.lines().take(3).map(|line| format!("{line}\n")).collect();
    assert!(refused(torn).starts_with("line 1: the result that begins here breaks off"));
}

#[test]
fn both_directions_are_two_workloads() {
    let text = with(BIDIR, "/end/sum_received_bidir_reverse/bits_per_second", Some(json!(8e6)));
    let text = with(&text, "/end/sum_sent_bidir_reverse/retransmits", Some(json!(7)));
    let file = read(&text);
    let [there, back] = &file.results[0].workloads[..] else { panic!("two directions") };
    assert_eq!((&*there.name, &*back.name), ("tcp-bidirectional-transmit", "tcp-bidirectional-receive"));
    let sum = serde_json::from_str::<Value>(BIDIR).unwrap()["end"]["sum_received"]["bits_per_second"].as_f64();
    assert_eq!(value(only(there), "bandwidth_bytes_per_s"), sum.map(|bits| bits / 8.0));
    assert_eq!(value(only(back), "bandwidth_bytes_per_s"), Some(1e6));
    assert_eq!(only(back).measured.facts["iperf3.retransmits"], json!(7));
    assert_eq!(there.parameters["target_bitrate"], "50000000");
    // Before 3.11 both sums had one name.
    let old = with(&text, "/end/sum_received_bidir_reverse", None);
    let old = with(&old, "/end/sum_sent_bidir_reverse", None);
    assert!(refused(old).starts_with("end: this iperf3 does not tell the directions of --bidir apart"));
    let half = with(&text, "/end/sum_received_bidir_reverse", None);
    assert!(refused(half).starts_with("end: this iperf3 does not tell the directions of --bidir apart"));
    let none = with(&text, "/end/sum_received", None);
    assert_eq!(refused(none), "end.sum_received: it is missing");
}

#[test]
fn of_udp_only_what_arrived_counts() {
    let file = read(UDP);
    assert_eq!(file.results[0].workloads[0].name, "udp-transmit");
    let said = refused(with(UDP, "/end/sum_received", None));
    assert!(said.starts_with("end: this iperf3 does not tell what arrived over UDP"), "{said}");
}

#[test]
fn a_fact_that_no_metric_needs_is_left_out_where_it_is_odd() {
    for odd in [json!(-1), json!(-3), json!(u32::MAX), json!(null), json!("many"), json!([])] {
        let file = read(with(IPERF3, "/end/sum_sent/retransmits", Some(odd.clone())));
        assert!(!only(&file.results[0].workloads[0]).measured.facts.contains_key("iperf3.retransmits"), "{odd}");
    }
    let odd = with(FIO, "/jobs/1/read/clat_ns/N", Some(json!("many")));
    assert!(value(only(&read(odd).results[0].workloads[1]), "read_iops").is_some());
}

#[test]
fn options_of_a_test_are_those_that_were_asked_for() {
    let options = |text: &str| read(text).results[0].workloads[0].parameters.clone();
    let plain = options(IPERF3);
    // What an earlier version does not tell of is what was not asked for.
    let earlier = ["fqrate", "bidir", "interval", "tos"];
    let earlier =
        earlier.iter().fold(IPERF3.to_owned(), |text, name| with(&text, &format!("/start/test_start/{name}"), None));
    assert_eq!(options(&earlier), plain);
    for (name, other) in [("target_bitrate", 80_000_000), ("blksize", 1460), ("omit", 3), ("tos", 16), ("duration", 60)]
    {
        let other = options(&with(IPERF3, &format!("/start/test_start/{name}"), Some(json!(other))));
        assert_ne!(other, plain, "{name}");
        assert!(other.contains_key(name));
    }
}
