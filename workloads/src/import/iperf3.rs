//! iperf3's results, whole or as a stream of events.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::documents::Document;
use super::place::{Fault, Place};
use super::{Results, Sample, Tool, Workload};
use crate::iperf3::{NO_COUNT, parse};
use crate::workload::Measured;

/// How iperf3 ends the names of sums over the streams that `--bidir` sends the other way.
const REVERSE: &str = "_bidir_reverse";
/// Fields of `test_start` that have a parameter of their own here, or say only how often iperf3 reports.
const NOT_OPTIONS: [&str; 5] = ["protocol", "num_streams", "reverse", "bidir", "interval"];

/// Read a result.
pub(super) fn results(at: &Place<'_>, json: &str) -> Result<Results, Fault> {
    let report = parse(json.as_bytes()).ok_or_else(|| at.fault("it cannot be read as a result of iperf3"))?;
    if let Some(error) = &report.error {
        let place = at.find("error").unwrap_or_else(|| at.clone());
        return Err(place.fault(format!("iperf3 failed: {}", bench_agent::printable(error, 400))));
    }
    let (end, test) = (at.field("end")?, Test::of(at)?);
    let directions: &[(&str, &str)] = match (test.is_set("bidir") || goes_both_ways(&end), test.is_set("reverse")) {
        (true, _) => &[("", "bidirectional-transmit"), (REVERSE, "bidirectional-receive")],
        (_, true) => &[("", "receive")],
        (_, false) => &[("", "transmit")],
    };
    let workloads = directions.iter().map(|(ending, direction)| workload(&end, &test, ending, direction));
    let version = bench_agent::printable(report.version(), 64);
    Ok(Results { tool: Tool::Iperf3, version, workloads: workloads.collect::<Result<_, _>>()?, notes: Vec::new() })
}

/// True where both sides sent: by the names of the sums, which are apart from iperf3 3.11 on, or by the streams.
fn goes_both_ways(end: &Place<'_>) -> bool {
    let is_reverse = |(name, _): &(&str, Place<'_>)| name.ends_with(REVERSE);
    let streams = end.find("streams").and_then(|streams| streams.items().ok()).unwrap_or_default();
    let sends = |stream: &Place<'_>| stream.find("sender")?.find("sender")?.value().as_bool();
    let sends = |wanted: bool| streams.iter().filter_map(sends).any(|found| found == wanted);
    end.fields().is_ok_and(|fields| fields.iter().any(is_reverse)) || (sends(true) && sends(false))
}

/// What arrived in one direction. `ending`: of the names of its sums.
fn workload(end: &Place<'_>, test: &Test<'_>, ending: &str, direction: &str) -> Result<Workload, Fault> {
    let sum = received(end, test, ending, direction)?;
    let seconds = sum.field("seconds")?.seconds()?;
    sum.field("bytes")?.positive()?;
    let mut measured = Measured::default();
    measured.put("bandwidth_bytes_per_s", sum.field("bits_per_second")?.positive()? / 8.0);
    measured.facts.insert("iperf3.seconds".to_owned(), json!(seconds));
    let retransmits = retransmits(end, ending).map(|count| ("iperf3.retransmits".to_owned(), json!(count)));
    measured.facts.extend(retransmits);
    let (name, parameters) = test.described(direction);
    let title = format!("iperf3, {name}");
    let deciding = "bandwidth_bytes_per_s";
    let samples = vec![Sample::of(&sum, measured, seconds, deciding)?];
    Ok(Workload { name, title, deciding, parameters, samples })
}

/// The sum of what arrived: of one stream it stands there alone in some versions.
fn received<'a>(end: &Place<'a>, test: &Test<'_>, ending: &str, direction: &str) -> Result<Place<'a>, Fault> {
    const NEWER: &str = "measure again with iperf3 3.11 or later";
    let name = format!("sum_received{ending}");
    let is_both = direction.starts_with("bidirectional");
    let is_apart = !is_both || end.find(&format!("sum_received{REVERSE}")).is_some();
    if let Some(sum) = end.find(&name).filter(|_| is_apart) {
        return Ok(sum);
    }
    if test.protocol() == "udp" {
        return Err(end.fault(format!("this iperf3 does not tell what arrived over UDP: {NEWER}")));
    }
    if !is_apart {
        return Err(end.fault(format!("this iperf3 does not tell the directions of --bidir apart: {NEWER}")));
    }
    let streams = end.find("streams").map(|streams| streams.items()).transpose()?.unwrap_or_default();
    match &streams[..] {
        [stream] if stream.find("receiver").is_some() => stream.field("receiver"),
        _ => end.field(&name),
    }
}

/// Segments sent again; absent where the sender's system does not tell, or not in a way that can be read. No metric needs them.
fn retransmits(end: &Place<'_>, ending: &str) -> Option<u64> {
    let sum = end.find(&format!("sum_sent{ending}"))?;
    sum.find("retransmits")?.value().as_u64().filter(|count| *count < NO_COUNT)
}

/// What the test was asked for.
struct Test<'a>(BTreeMap<&'a str, &'a Value>);

impl<'a> Test<'a> {
    fn of(at: &Place<'a>) -> Result<Test<'a>, Fault> {
        let asked = at.find("start").and_then(|start| start.find("test_start"));
        let fields = asked.map(|asked| asked.fields()).transpose()?.into_iter().flatten();
        Ok(Test(fields.map(|(name, place)| (name, place.value())).collect()))
    }

    fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.as_u64().unwrap_or(0) > 0 || value.as_bool() == Some(true))
    }

    fn protocol(&self) -> String {
        let protocol = self.0.get("protocol").and_then(|value| value.as_str()).unwrap_or("TCP");
        bench_agent::printable(protocol, 16).to_lowercase()
    }

    /// Name and parameters. What is 0 was not asked for, and earlier versions do not tell of it.
    fn described(&self, direction: &str) -> (String, BTreeMap<String, String>) {
        let protocol = self.protocol();
        let streams = self.0.get("num_streams").and_then(|value| value.as_u64()).unwrap_or(1);
        let many = if streams > 1 { format!("-{streams}") } else { String::new() };
        let name = format!("{protocol}-{direction}{many}");
        let is_option = |name: &str| !NOT_OPTIONS.contains(&name);
        let options = self.0.iter().filter(|(name, _)| is_option(name)).filter_map(|(name, value)| {
            let text = match value {
                Value::Bool(true) => "yes".to_owned(),
                Value::Number(number) if number.as_f64() != Some(0.0) => number.to_string(),
                Value::String(text) if !text.is_empty() => bench_agent::printable(text, 80),
                _ => return None,
            };
            Some((bench_agent::printable(name, 80), text))
        });
        let mut parameters: BTreeMap<String, String> = options.collect();
        parameters.extend(
            [
                ("engine", "iperf3, imported".to_owned()),
                ("protocol", protocol),
                ("direction", direction.to_owned()),
                ("streams", streams.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        (name, parameters)
    }
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
