//! What of iperf3's JSON is used, in every form that it has had since 3.0; the rest is kept as it is in `raw/`.

use fio_rs::loose::{self, Figure, Loose, Record, Several, Text};
use serde::Deserialize;
use serde::de::MapAccess;

/// Intervals that are read: one a second in a day.
const MOST_INTERVALS: usize = 100_000;
/// Streams that are read: iperf3 has 128 at most (iperf.h, `MAX_STREAMS`).
const MOST_STREAMS: usize = 256;
/// Beginnings of an object that are tried in vain: each may be read to the end.
const MOST_BEGINNINGS: usize = 8;
/// Where a count of retransmits is the `-1` of a system that cannot tell, in 32 or 64 bits, or a difference to it.
pub(crate) const NO_COUNT: u64 = 1 << 31;

/// The output of one client.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The first error that it tells.
    pub(crate) error: Option<String>,
    /// The sums at the end.
    pub(crate) end: End,
    start: Start,
    intervals: Vec<Interval>,
}

#[derive(Debug, Default)]
struct Start {
    version: Option<String>,
}

/// A time and what was moved in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) seconds: Figure,
    bytes: Figure,
    bits_per_second: Figure,
    retransmits: Figure,
    omitted: bool,
}

#[derive(Debug, Default)]
struct Interval {
    sum: Option<Sum>,
    streams: Vec<Sum>,
}

/// The sums over the whole time without what was omitted.
#[derive(Debug, Default)]
pub(crate) struct End {
    sent: Option<Sum>,
    received: Option<Sum>,
    streams: Vec<Ends>,
}

/// Both ends of one stream.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    sender: Option<Sum>,
    receiver: Option<Sum>,
}

/// The result in what iperf3 printed, amid warnings; absent where there is none, or it breaks off. With `--json-stream` it is
/// one object a line. It begins a line without space before it, as nothing within it does.
pub(crate) fn parse(stdout: &[u8]) -> Option<Report> {
    let text = String::from_utf8_lossy(stdout);
    let (mut at, mut in_vain, mut found) = (0, 0, None);
    while let Some(begin) = beginning(&text, at).filter(|_| in_vain < MOST_BEGINNINGS) {
        let object = loose::object(&text[begin..]).ok().filter(|object| take(&object.json, &mut found));
        in_vain += usize::from(object.is_none());
        at = begin + object.map_or(1, |object| object.length);
    }
    found
}

/// iperf3's version, from an output that is no result.
pub(crate) fn version(stdout: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stdout);
    let version = text[text.find("\"iperf 3")? + 1..].split(['"', '\n']).next()?;
    Some(version.to_owned()).filter(|version| version.len() < 64)
}

/// The first brace from `at` on that begins a line.
fn beginning(text: &str, at: usize) -> Option<usize> {
    let begins_line = |&(place, _): &(usize, &str)| at + place == 0 || text[..at + place].ends_with('\n');
    text[at..].match_indices('{').find(begins_line).map(|(place, _)| at + place)
}

/// Take an object in; false: it is none of iperf3's.
fn take(json: &str, found: &mut Option<Report>) -> bool {
    let Ok(Loose(Some(event))) = serde_json::from_str::<Loose<Event>>(json) else { return false };
    let Some(event) = event.0 else {
        let Ok(Loose(Some(report))) = serde_json::from_str::<Loose<Report>>(json) else { return false };
        // What is printed after a result need not be one.
        if found.is_none()
            || report.error.is_some()
            || report.start.version.is_some()
            || report.end.received().is_some()
        {
            *found = Some(report);
        }
        return true;
    };
    let report = found.get_or_insert_default();
    match event.as_str() {
        "start" => report.start = data(json).unwrap_or_default(),
        "interval" if report.intervals.len() < MOST_INTERVALS => report.intervals.extend(data::<Interval>(json)),
        "end" => report.end = data(json).unwrap_or_default(),
        "error" => report.error = report.error.take().or_else(|| Some(said(json))),
        _ => {}
    }
    true
}

/// The `data` of an event.
fn data<T: Record>(json: &str) -> Option<T> {
    serde_json::from_str::<Loose<Data<Loose<T>>>>(json).ok()?.0?.0.0
}

/// The `data` of an event that is a text.
fn said(json: &str) -> String {
    serde_json::from_str::<Loose<Data<Text>>>(json).ok().and_then(|Loose(data)| data?.0.0).unwrap_or_default()
}

#[derive(Default)]
struct Event(Option<String>);

impl Record for Event {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        if name == "event" {
            self.0 = from.next_value::<Text>()?.0;
        }
        Ok(name == "event")
    }
}

#[derive(Default)]
struct Data<T>(T);

impl<T: Default + for<'a> Deserialize<'a>> Record for Data<T> {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        if name == "data" {
            self.0 = from.next_value()?;
        }
        Ok(name == "data")
    }
}

impl Report {
    /// iperf3 with its version, for a sentence.
    pub(crate) fn version(&self) -> &str {
        self.start.version.as_deref().unwrap_or("iperf3 of an unknown version")
    }

    /// Seconds of the intervals that are in no figure; absent where it tells of no interval.
    pub(crate) fn omitted_s(&self) -> Option<f64> {
        let sums: Vec<Sum> = self.intervals.iter().filter_map(Interval::sum).collect();
        let omitted = sums.iter().filter(|sum| sum.omitted).filter_map(|sum| sum.seconds.positive());
        (!sums.is_empty()).then(|| omitted.sum())
    }
}

impl Interval {
    /// That of all streams, which take the same time.
    fn sum(&self) -> Option<Sum> {
        self.sum.or(self.streams.first().copied())
    }
}

impl Sum {
    /// Bytes per second, if any were moved.
    pub(crate) fn bytes_per_s(&self) -> Option<f64> {
        let counted = || Some(self.bytes.positive()? / self.seconds.positive()?);
        self.bits_per_second.positive().map(|bits| bits / 8.0).or_else(counted)
    }
}

impl End {
    /// What arrived: only that counts, for what was sent may be lost. Absent where it is not told.
    pub(crate) fn received(&self) -> Option<Sum> {
        let of_one = || match self.streams.as_slice() {
            [Ends { receiver, .. }] => *receiver,
            _ => None,
        };
        self.received.or_else(of_one)
    }

    /// Segments sent again; absent where the sender's system does not count them.
    pub(crate) fn retransmits(&self) -> Option<u64> {
        let of_one = || self.streams.first()?.sender;
        self.sent.or_else(of_one)?.retransmits.count().filter(|&count| count < NO_COUNT)
    }
}

impl Record for Report {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        match name {
            "error" => {
                let text = from.next_value::<Text>()?.0;
                self.error = self.error.take().or(text);
            }
            "start" => self.start = record(from)?,
            "end" => self.end = record(from)?,
            "intervals" => self.intervals = records::<A, Interval, MOST_INTERVALS>(from)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn record<'de, A: MapAccess<'de>, T: Record>(from: &mut A) -> Result<T, A::Error> {
    Ok(from.next_value::<Loose<T>>()?.0.unwrap_or_default())
}

fn records<'de, A: MapAccess<'de>, T: Record, const MOST: usize>(from: &mut A) -> Result<Vec<T>, A::Error> {
    let several: Several<T, MOST> = from.next_value()?;
    Ok(several.kept.into_iter().filter_map(|Loose(item)| item).collect())
}

fn sum<'de, A: MapAccess<'de>>(from: &mut A) -> Result<Option<Sum>, A::Error> {
    Ok(from.next_value::<Loose<Sum>>()?.0)
}

impl Record for Start {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        if name == "version" {
            self.version = from.next_value::<Text>()?.0;
        }
        Ok(name == "version")
    }
}

impl Record for Interval {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        match name {
            "sum" => self.sum = sum(from)?,
            "streams" => self.streams = records::<A, Sum, 1>(from)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Record for End {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        match name {
            "sum_sent" => self.sent = sum(from)?,
            "sum_received" => self.received = sum(from)?,
            "streams" => self.streams = records::<A, Ends, MOST_STREAMS>(from)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Record for Ends {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        match name {
            "sender" => self.sender = sum(from)?,
            "receiver" => self.receiver = sum(from)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Record for Sum {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        let figure = match name {
            "seconds" => &mut self.seconds,
            "bytes" => &mut self.bytes,
            "bits_per_second" => &mut self.bits_per_second,
            "retransmits" => &mut self.retransmits,
            "omitted" => {
                self.omitted = from.next_value::<Text>()?.0.is_some_and(|text| text == "true" || text == "1");
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *figure = from.next_value()?;
        Ok(true)
    }
}
