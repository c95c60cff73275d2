//! Finding the results in a file: one or several, amid warnings.

use bench_results::limits;
use fio_rs::loose::{self, Broken};
use serde_json::Value;

use super::ImportError;

/// What is said of a result that is not whole.
pub(super) fn torn(why: Broken) -> String {
    let because = match why {
        Broken::Off => ": the tool was stopped while it wrote, or the file was cut",
        Broken::TooDeep => ", as no result of these tools is",
    };
    format!("the result that begins here {why}{because}")
}

/// What is said of several results in brackets.
const LIST: &str = "it is a list: a result is an object (`jq -c '.[]'` writes those of a list one by one)";
/// Lines around results that are kept.
const MOST_NOTES: usize = 100;
/// Of a line that is kept.
const NOTE_LENGTH: usize = 400;

/// A JSON object of a file.
pub(super) struct Document {
    /// The line in which it begins, counted from 1.
    pub line: usize,
    /// Its text, as fio-rs mends what C programs print.
    pub json: String,
    /// The same as values.
    pub value: Value,
}

/// Give every object of a file to `take`; the lines around them are given back.
pub(super) fn each(
    content: &[u8],
    most_values: u64,
    mut take: impl FnMut(Document) -> Result<(), ImportError>,
) -> Result<Vec<String>, ImportError> {
    if content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]) {
        let text = "it is UTF-16, as PowerShell's `>` writes it: convert it to UTF-8";
        return Err(ImportError::NoResult(text.to_owned()));
    }
    let text = String::from_utf8_lossy(content);
    let (mut at, mut line, mut values) = (0, 1, 0);
    let (mut notes, mut count) = (Vec::new(), 0);
    loop {
        let rest = &text[at..];
        let is_between = |c: char| c.is_whitespace() || c == '\u{feff}' || (c == ',' && count > 0);
        let begin = at + rest.len() - rest.trim_start_matches(is_between).len();
        line += newlines(&text[at..begin]);
        let rest = &text[begin..];
        if rest.is_empty() {
            break;
        }
        if !begins_object(rest) {
            at = begin + note(rest, line, &mut notes)?;
            continue;
        }
        let torn = |why| ImportError::Text { line, column: None, problem: torn(why) };
        let object = loose::object(rest).map_err(torn)?;
        values += limits::values(object.json.as_bytes());
        if values > most_values {
            return Err(ImportError::NoResult(format!("it holds more values than are read, {most_values} at most")));
        }
        let value = serde_json::from_str(&object.json).map_err(|e| no_json(line, &e))?;
        object.notes.iter().for_each(|note| keep(&mut notes, note));
        take(Document { line, json: object.json, value })?;
        count += 1;
        line += newlines(&rest[..object.length]);
        at = begin + object.length;
    }
    if count == 0 { Err(ImportError::NoResult(no_result(&text))) } else { Ok(notes) }
}

/// Keep the line that the text begins with, which is around results; its length. It ends where a status line does that fio writes over.
fn note(text: &str, line: usize, notes: &mut Vec<String>) -> Result<usize, ImportError> {
    let end = text.find(['\n', '\r']).unwrap_or(text.len());
    let is_name = |(at, _): &(usize, &str)| text[at + 1..].trim_start().starts_with('"');
    let problem = match text[..end].match_indices('{').find(is_name) {
        None => {
            keep(notes, &text[..end]);
            return Ok(end);
        }
        Some((at, _)) if text[..at].trim() == "[" => LIST,
        Some(_) => "an object begins amid a line of other text: put each result on a line of its own",
    };
    Err(ImportError::Text { line, column: None, problem: problem.to_owned() })
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// A brace in a warning is followed by anything.
fn begins_object(text: &str) -> bool {
    text.strip_prefix('{').is_some_and(|rest| rest.trim_start().is_empty() || rest.trim_start().starts_with(['"', '}']))
}

fn keep(notes: &mut Vec<String>, text: &str) {
    if notes.len() < MOST_NOTES && !text.trim().is_empty() {
        notes.push(bench_agent::printable(text.trim(), NOTE_LENGTH));
    }
}

/// `first`: the line in which the text began that is no JSON.
fn no_json(first: usize, error: &serde_json::Error) -> ImportError {
    let said = error.to_string();
    let problem = format!("it is no JSON: {}", said.split(" at line ").next().unwrap_or(&said));
    ImportError::Text { line: first + error.line().saturating_sub(1), column: Some(error.column()), problem }
}

/// Why there is no result in a text.
fn no_result(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let what = match text.chars().next() {
        None => "it is empty",
        Some('<') => "it is HTML or XML, and no JSON",
        Some('[') => LIST,
        Some(_) => "there is no JSON object in it",
    };
    let how = "fio writes one with --output-format=json+, iperf3 with --json, hyperfine with --export-json";
    format!("{what}; {how}")
}
