//! iperf3's results, whole or as a stream of events.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::documents::Document;
use super::place::{Fault, Place};
use super::{Results, Sample, Tool, Workload};
use crate::iperf3::parse;
use crate::workload::Measured;

/// Read a result.
pub(super) fn results(at: &Place<'_>, json: &str) -> Result<Results, Fault> {
    let report = parse(json.as_bytes()).ok_or_else(|| at.fault("it cannot be read as a result of iperf3"))?;
    if let Some(error) = &report.error {
        let place = at.find("error").unwrap_or_else(|| at.clone());
        return Err(place.fault(format!("iperf3 failed: {}", bench_agent::printable(error, 400))));
    }
    let end = at.field("end")?;
    let sum = received(&end)?;
    let seconds = sum.field("seconds")?.positive()?;
    let _bytes = sum.field("bytes")?.positive()?;
    let bits_per_s = sum.field("bits_per_second")?.positive()?;
    let mut measured = Measured::default();
    measured.put("bandwidth_bytes_per_s", bits_per_s / 8.0);
    measured.facts.insert("iperf3.seconds".to_owned(), json!(seconds));
    if let Some(retransmits) = end.find("sum_sent").and_then(|sent| sent.find("retransmits")) {
        // -1 is what a system says that cannot tell.
        if retransmits.value().as_i64() != Some(-1) {
            retransmits.count()?;
        }
        measured.facts.extend(report.end.retransmits().map(|count| ("iperf3.retransmits".to_owned(), json!(count))));
    }
    let version = bench_agent::printable(report.version(), 64);
    let (name, parameters) = described(at);
    let title = format!("iperf3, {name}");
    let samples = vec![Sample { measured, seconds }];
    let workload = Workload { name, title, deciding: "bandwidth_bytes_per_s", parameters, samples };
    Ok(Results { tool: Tool::Iperf3, version, workloads: vec![workload], began_s: None })
}

/// What arrived: of one stream it stands there alone in some versions.
fn received<'a>(end: &Place<'a>) -> Result<Place<'a>, Fault> {
    if let Some(sum) = end.find("sum_received") {
        return Ok(sum);
    }
    let streams = end.find("streams").map(|streams| streams.items()).transpose()?.unwrap_or_default();
    match &streams[..] {
        [stream] if stream.find("receiver").is_some() => stream.field("receiver"),
        _ => end.field("sum_received"),
    }
}

/// Name and parameters by what the test was asked for.
fn described(at: &Place<'_>) -> (String, BTreeMap<String, String>) {
    let test = at.find("start").and_then(|start| start.find("test_start"));
    let asked = |name: &str| test.as_ref().and_then(|test| test.find(name)).map(|place| place.value());
    let is_set = |name: &str| asked(name).is_some_and(|value| value.as_u64().unwrap_or(0) > 0 || value == &json!(true));
    let protocol = asked("protocol").and_then(Value::as_str).unwrap_or("TCP");
    let protocol = bench_agent::printable(protocol, 16).to_lowercase();
    let streams = asked("num_streams").and_then(Value::as_u64).unwrap_or(1);
    let direction = match (is_set("bidir"), is_set("reverse")) {
        (true, _) => "bidirectional",
        (_, true) => "receive",
        (_, false) => "transmit",
    };
    let parameters = [
        ("engine", "iperf3, imported".to_owned()),
        ("protocol", protocol.clone()),
        ("direction", direction.to_owned()),
        ("streams", streams.to_string()),
    ];
    let many = if streams > 1 { format!("-{streams}") } else { String::new() };
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value)).into();
    (format!("{protocol}-{direction}{many}"), parameters)
}

/// Events of `--json-stream`, which are one result together.
#[derive(Default)]
pub(super) struct Stream {
    lines: String,
    whole: Map<String, Value>,
    /// The line of the first event, counted from 1.
    first: Option<usize>,
}

impl Stream {
    /// Take an event in; the result, when it was the last one.
    pub fn take(&mut self, document: &Document) -> Result<Option<Results>, Fault> {
        let at = Place::top(&document.value);
        let event = at.field("event")?.text()?;
        self.first.get_or_insert(document.line);
        // Each event begins a line of its own.
        self.lines.push_str(&document.json.replace(['\n', '\r'], " "));
        self.lines.push('\n');
        if ["start", "end", "error"].contains(&event) {
            self.whole.insert(event.to_owned(), at.field("data")?.value().clone());
        }
        if !["end", "error"].contains(&event) {
            return Ok(None);
        }
        let Stream { lines, whole, .. } = std::mem::take(self);
        results(&Place::top(&Value::Object(whole)), &lines).map(Some)
    }

    /// The line in which a result began that has no end yet.
    pub fn begun(&self) -> Option<usize> {
        self.first
    }
}
