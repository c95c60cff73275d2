//! The figures of workloads over the network: the paper's Figs. 2 and 3, throughput, and what small things cost.

use bench_results::record::Workload;

use crate::build::Source;
use crate::figures::{BarPanel, Figure};
use crate::pictures::{BAR_CAPTION, Distributions, bar_panel, bars, latency, paper_panel};

/// Every transaction of the paper's first round-trip workload.
const ROUND_TRIP: Distributions =
    Distributions { names: ["round-trip-cdf", "round-trip-tail"], directions: &["round_trip"], preferred: "tcp-rr" };

/// All of them for which there is data.
pub(crate) fn figures(source: &Source<'_>) -> Vec<Figure> {
    let mut figures: Vec<Figure> =
        [throughput(source), cpu_per_byte(source), round_trips(source), small_things(source)]
            .into_iter()
            .flatten()
            .collect();
    figures.extend(latency(source, &ROUND_TRIP));
    figures
}

fn chosen<'a>(source: &Source<'a>, choose: impl Fn(&Workload) -> bool) -> Vec<&'a Workload> {
    source.run().plan.workloads.iter().filter(|workload| choose(workload)).collect()
}

fn parameter<'a>(workload: &'a Workload, name: &str) -> &'a str {
    workload.parameters.get(name).map_or("", String::as_str)
}

/// This run's bars beside the paper's.
fn beside_paper(
    source: &Source<'_>,
    name: &'static str,
    (title, caption): (&str, &str),
    (figure, metric): (&str, &str),
    workloads: &[&Workload],
) -> Option<Figure> {
    let mut panels: Vec<BarPanel> = vec![bar_panel(source, "this run", metric, workloads)?];
    panels.extend(paper_panel(figure, metric));
    let caption = format!("{BAR_CAPTION} {caption}");
    Some(bars(source, name, (title, &caption), workloads, panels))
}

fn throughput(source: &Source<'_>) -> Option<Figure> {
    let workloads = chosen(source, |w| parameter(w, "engine") == "iperf3" && w.deciding == "bandwidth_bytes_per_s");
    let title = "TCP bulk transfer as fast as it goes, today and in the paper";
    let caption = "A pair of virtual devices has no line rate: the reference's bar is the limit of the link itself, and all \
                   of it is bound by CPU. The paper's 10 Gb/s link was full in every environment.";
    beside_paper(source, "network-throughput", (title, caption), ("in the text", "bandwidth_bytes_per_s"), &workloads)
}

/// The paper's Fig. 2.
fn cpu_per_byte(source: &Source<'_>) -> Option<Figure> {
    let metric = "machine_cpu_ns_per_byte";
    let workloads = chosen(source, |w| w.deciding == metric);
    let title = "CPU per byte at one rate for all, today and in the paper's Fig. 2";
    let caption = "Time of all CPUs, so of both ends together: on one machine the sender does part of the receiver's work, \
                   alike for all. The paper counted cycles of its one end: compare shapes, not heights.";
    beside_paper(source, "cpu-per-byte", (title, caption), ("Fig. 2", metric), &workloads)
}

/// The paper's Fig. 3.
fn round_trips(source: &Source<'_>) -> Option<Figure> {
    let alike = |w: &Workload| ["tcp-rr", "udp-rr"].contains(&parameter(w, "mode")) && parameter(w, "per_s").is_empty();
    let workloads = chosen(source, alike);
    let title = "Mean round trip of 100 bytes there and 200 back, today and in the paper's Fig. 3";
    let caption = "The paper's two machines had a real link between them: compare shapes, not heights.";
    beside_paper(source, "round-trips", (title, caption), ("Fig. 3", "round_trip_latency_mean_ns"), &workloads)
}

/// What a transaction, a connection and a packet cost.
fn small_things(source: &Source<'_>) -> Option<Figure> {
    let workloads = chosen(source, |w| parameter(w, "engine") == "bench probe" && parameter(w, "per_s").is_empty());
    let wanted =
        [("each transaction", "machine_cpu_ns_per_transaction"), ("each small packet", "machine_cpu_ns_per_packet")];
    let panels: Vec<_> =
        wanted.into_iter().filter_map(|(heading, metric)| bar_panel(source, heading, metric, &workloads)).collect();
    let title = "CPU time of transactions and packets: both ends together";
    (!panels.is_empty()).then(|| bars(source, "cpu-per-transaction", (title, BAR_CAPTION), &workloads, panels))
}
