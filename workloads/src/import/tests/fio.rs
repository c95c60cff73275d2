//! fio's sections, options and hosts.

use super::*;

const ONE_NAME: &str = include_str!("../../../tests/golden/fio-one-name.json");
const CLIENT: &str = include_str!("../../../tests/golden/fio-client.json");
const ETA: &str = include_str!("../../../tests/golden/fio-eta.out");

fn names(file: &File) -> Vec<&str> {
    file.results.iter().flat_map(|result| &result.workloads).map(|workload| workload.name.as_str()).collect()
}

/// The options of the measured section with these in place of its own and the global ones.
fn options(global: Value, own: Value) -> BTreeMap<String, String> {
    let text = with(&with(FIO, "/global options", Some(global)), "/jobs/1/job options", Some(own));
    let mut file = read(text);
    file.results.remove(0).workloads.remove(1).parameters
}

#[test]
fn fio_of_all_versions_is_read() {
    for (text, version, has_writes) in
        [(OLD_FIO, "fio-3.1", false), (FIO, "fio-3.33", true), (NEW_FIO, "fio-3.42", false)]
    {
        let file = read(text);
        let [result] = &file.results[..] else { panic!("{version}") };
        assert_eq!((result.tool, result.version.as_str()), (Tool::Fio, version));
        let names: Vec<_> = result.workloads.iter().map(|workload| workload.name.as_str()).collect();
        assert_eq!(names, ["warm-up", "measured"]);
        let sample = only(&result.workloads[1]);
        let counted = crate::recount(text.as_bytes());
        assert!(!counted.is_empty());
        for (metric, counted) in counted {
            assert_eq!(value(sample, &metric), Some(counted), "{version}: {metric}");
        }
        assert_eq!(
            (value(sample, "write_iops").is_some(), sample.measured.histograms.len() == 2),
            (has_writes, has_writes)
        );
        assert!(sample.seconds > 0.03 && sample.measured.histograms["read"].count() > 100, "{version}");
    }
}

#[test]
fn jobs_of_one_section_are_added_up() {
    let mut all: Value = serde_json::from_str(FIO).unwrap();
    all["global options"].as_object_mut().unwrap().remove("group_reporting");
    let mut again = all["jobs"][1].clone();
    again["read"]["runtime"] = json!(202);
    all["jobs"].as_array_mut().unwrap().push(again.clone());
    let file = read(all.to_string());
    let [_, measured] = &file.results[0].workloads[..] else { panic!("two sections") };
    let (one, both) = (read(FIO), only(measured));
    let one = only(&one.results[0].workloads[1]);
    let reads = 2.0 * 2291.0 / 0.202;
    assert!((value(both, "read_iops").unwrap() / reads - 1.0).abs() < 1e-9);
    assert!(
        (value(both, "read_latency_mean_ns").unwrap() / value(one, "read_latency_mean_ns").unwrap() - 1.0).abs() < 1e-9
    );
    assert_eq!(both.measured.histograms["read"].count(), 2 * one.measured.histograms["read"].count());
    assert_eq!(measured.parameters["jobs"], "2");
    // Of another group it is a section of its own.
    again["groupid"] = json!(7);
    all["jobs"][2] = again;
    let names: Vec<_> = read(all.to_string()).results[0].workloads.iter().map(|one| one.name.clone()).collect();
    assert_eq!(names, ["warm-up", "measured", "measured (2)"]);
}

#[test]
fn percentiles_without_bins_are_fios_own_where_enough_bears_them() {
    let plain = with(&with(FIO, "/jobs/1/read/clat_ns/bins", None), "/jobs/1/write/clat_ns/bins", None);
    let file = read(plain);
    let sample = only(&file.results[0].workloads[1]);
    assert!(sample.measured.histograms.is_empty());
    let told = &serde_json::from_str::<Value>(FIO).unwrap()["jobs"][1]["read"]["clat_ns"]["percentile"]["50.000000"];
    assert_eq!(value(sample, "read_latency_p50_ns"), told.as_f64());
    assert_eq!(value(sample, "read_latency_p99_ns"), None, "2291 reads at depth 8 do not bear it");
}

#[test]
fn other_units_are_refused() {
    for version in ["fio-2.21", "fio-2.2.10", "fio-1.59", "fio-3.0", "fio-2.99"] {
        let said = refused(FIO.replace("fio-3.33", version));
        let number = &version[4..];
        assert!(said.contains(&format!("fio {number}")) && said.contains("from fio 3.1 on"), "{said}");
    }
    for version in ["fio-3.1", "fio-3.36-12-gabc", "fio-3.40-dirty", "fio-10.2"] {
        assert_eq!(read(FIO.replace("fio-3.33", version)).results[0].version, version);
    }
    assert!(refused(FIO.replace("fio-3.33", "mine")).contains("no version of fio"));
}

#[test]
fn sections_of_one_name_are_two_things() {
    let file = read(ONE_NAME);
    assert_eq!(names(&file), ["x", "x (2)"]);
    let [one, two] = &file.results[0].workloads[..] else { panic!("two sections") };
    assert_eq!((&*one.parameters["rw"], &*two.parameters["rw"], &*one.parameters["jobs"]), ("read", "randread", "1"));
    assert!(
        file.notes
            .iter()
            .any(|note| note == "the section `cpu` is left out: it used the CPU, which no metric tells of")
    );
}

#[test]
fn the_sum_over_hosts_counts_nothing_twice() {
    let file = read(CLIENT);
    assert_eq!(names(&file), ["one on 127.0.0.1", "two on 127.0.0.1", "one on localhost", "two on localhost"]);
    let workloads = &file.results[0].workloads;
    assert!(workloads.iter().all(|workload| only(workload).measured.facts["fio.ios"] == json!(100)));
    assert_eq!((&*workloads[1].parameters["rw"], &*workloads[2].parameters["rw"]), ("randread", "read"));
    assert!(
        file.notes.iter().any(|note| note.starts_with("`All clients` of fio --client is left out")),
        "{:?}",
        file.notes
    );
    // Other versions have the global options of each host in a list.
    let mut all: Value = serde_json::from_str(&CLIENT[CLIENT.find("\n{").unwrap()..]).unwrap();
    let of = |host: &str, port: u16, bs: &str| json!({"hostname": host, "port": port, "bs": bs});
    all["global options"] = json!([of("127.0.0.1", 8765, "4k"), of("localhost", 8766, "8k")]);
    let file = read(all.to_string());
    let sizes = file.results[0].workloads.iter().map(|workload| workload.parameters["bs"].as_str());
    assert_eq!(sizes.collect::<Vec<_>>(), ["4096", "4096", "8192", "8192"]);
    assert!(file.results[0].workloads.iter().all(|workload| !workload.parameters.contains_key("hostname")));
}

#[test]
fn a_status_line_that_is_written_over_ends() {
    assert!(ETA.contains("\r{"));
    let file = read(ETA);
    assert_eq!(names(&file), ["watched"]);
    assert!(file.notes.iter().any(|note| note.starts_with("Jobs: 1 (f=1)")), "{:?}", file.notes);
}

#[test]
fn a_section_without_figures_is_left_out() {
    let mut all: Value = serde_json::from_str(FIO).unwrap();
    let trims = all["jobs"][0]["read"].clone();
    for part in ["read", "write"] {
        all["jobs"][0][part] = json!({"total_ios": 0, "io_bytes": 0});
    }
    for (trim, why) in [(trims, "it only trimmed, which no metric tells of"), (json!({}), "it read and wrote nothing")]
    {
        all["jobs"][0]["trim"] = trim;
        let file = read(all.to_string());
        assert_eq!(names(&file), ["measured"]);
        assert_eq!(file.notes, [format!("the section `warm-up` is left out: {why}")]);
    }
    all["jobs"].as_array_mut().unwrap().truncate(1);
    assert!(refused(all.to_string()).starts_with("jobs: no section in it read or wrote anything"));
}

#[test]
fn options_are_told_alike_however_they_are_written() {
    let plain = options(json!({"bs": "4096", "size": "1m", "time_based": "1"}), json!({"iodepth": "4"}));
    for (global, own) in [
        (json!({"bs": "4k", "size": "1048576", "time_based": ""}), json!({"iodepth": "4"})),
        (json!({"bs": "8k", "size": "1024K", "iodepth": "4"}), json!({"bs": "4K", "time_based": "1"})),
        (
            json!({"blocksize": "4k", "size": "1M", "time_based": "1", "write_lat_log": "logs/3", "randseed": "9"}),
            json!({"iodepth": "4", "name": "measured", "description": "again"}),
        ),
    ] {
        assert_eq!(options(global.clone(), own), plain, "{global}");
    }
    for (global, own) in [
        // 4000 bytes to fio, unless it is told otherwise.
        (json!({"bs": "4KiB", "size": "1m", "time_based": "1"}), json!({"iodepth": "4"})),
        (json!({"bs": "4k", "kb_base": "1000", "size": "1m", "time_based": "1"}), json!({"iodepth": "4"})),
        (json!({"bs": "4k", "size": "1m", "time_based": "1"}), json!({"iodepth": "4", "fsync": "1"})),
        (json!({"bs": "4k", "size": "1m", "time_based": "1", "runtime": "1m"}), json!({"iodepth": "4"})),
    ] {
        assert_ne!(options(global.clone(), own), plain, "{global}");
    }
    assert_eq!(options(json!({"runtime": "1m"}), json!({}))["runtime"], "1m");
}

#[test]
fn buffered_is_the_contrary_of_direct() {
    let direct = |global: Value, own: Value| options(global, own).get("direct").cloned();
    for (global, own, told) in [
        (json!({}), json!({}), None),
        (json!({"direct": "1"}), json!({}), Some("1")),
        (json!({"buffered": "1"}), json!({}), Some("0")),
        (json!({"buffered": "0"}), json!({}), Some("1")),
        (json!({"buffered": ""}), json!({}), Some("0")),
        (json!({"direct": "1", "buffered": "0"}), json!({}), Some("1")),
        (json!({"direct": "1"}), json!({"buffered": "1"}), Some("0")),
        (
            json!({"direct": "1"}),
            json!({"direct": "1", "buffered": "1"}),
            Some(
                "not told: fio takes the last of direct and buffered, \
             which were both given",
            ),
        ),
    ] {
        assert_eq!(direct(global.clone(), own.clone()).as_deref(), told, "{global} {own}");
    }
}
