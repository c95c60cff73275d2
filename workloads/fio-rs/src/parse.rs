//! Finding the JSON in what fio printed.

use crate::loose::{self, Loose};
use crate::output::{Output, RawOutput};

/// The text holds no result of fio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    /// What is wrong, with fio's version where it was told.
    pub fault: String,
    /// True when a result began, and is not whole or no JSON.
    pub torn: bool,
    /// What it printed besides.
    pub diagnostics: Vec<String>,
}

/// How many places are tried in vain as the beginning of the JSON: nested ones could make it read everything again and again.
const MOST_BEGINNINGS: usize = 8;
/// Lines around the JSON that are kept.
const MOST_NOTES: usize = 1000;

/// Find and read the JSON in what fio printed. Notes and errors come in the same stream, before, after and amid it, and are kept.
/// Of several results (`--status-interval`, or SIGUSR1) the last one counts, and has to be whole.
pub fn parse(text: &[u8]) -> Result<Output, ParseError> {
    let text = String::from_utf8_lossy(text);
    let (mut at, mut in_vain) = (0, 0);
    let (mut found, mut fault) = (None, None);
    let mut diagnostics = Vec::new();
    while let Some(begin) = beginning(&text, at).filter(|_| in_vain < MOST_BEGINNINGS) {
        match result(&text[begin..]) {
            Ok((output, length)) => {
                keep(&mut diagnostics, &text[at..begin]);
                keep(&mut diagnostics, &output.diagnostics.join("\n"));
                (found, fault) = (Some(output), None);
                at = begin + length;
            }
            Err(why) => {
                let line = text[begin..].find('\n').map_or(text.len(), |end| begin + end + 1);
                keep(&mut diagnostics, &text[at..line]);
                fault = fault.or(why);
                at = line;
                in_vain += 1;
            }
        }
    }
    keep(&mut diagnostics, &text[at..]);
    match (found, fault) {
        (Some(output), None) => Ok(Output { diagnostics, ..output }),
        (_, Some(fault)) => Err(ParseError { fault, torn: true, diagnostics }),
        (None, None) => {
            let last = diagnostics.last().map(|line| format!("; its last words: {line}"));
            let fault = format!("fio printed no JSON{}", last.unwrap_or_default());
            Err(ParseError { fault, torn: false, diagnostics })
        }
    }
}

/// Lines that say something.
fn keep(diagnostics: &mut Vec<String>, text: &str) {
    let lines = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    diagnostics.extend(lines.take(MOST_NOTES.saturating_sub(diagnostics.len())).map(str::to_owned));
}

/// The first place from `at` on where an object may begin: at the beginning of a line.
fn beginning(text: &str, at: usize) -> Option<usize> {
    let begins_line = |&(place, _): &(usize, &str)| {
        let before = text[at..at + place].trim_end_matches([' ', '\t', '\u{feff}']);
        before.is_empty() || before.ends_with(['\n', '\r'])
    };
    text[at..].match_indices('{').find(begins_line).map(|(place, _)| at + place)
}

/// The result that begins here, and its length. An error: there is none, and what is wrong with it if one began.
fn result(text: &str) -> Result<(Output, usize), Option<String>> {
    let bad = |what: &str| {
        let began = text.contains("\"fio version\"") || text.contains("\"jobs\"");
        began.then(|| format!("the result of {} {what}", version(text).unwrap_or("fio")))
    };
    let object = loose::object(text).map_err(|why| bad(&why.to_string()))?;
    let read = serde_json::from_str::<Loose<RawOutput>>(&object.json);
    match read.map_err(|e| bad(&format!("is no JSON ({e})")))?.0 {
        Some(raw) if raw.jobs.is_some() || !raw.version.is_empty() => {
            let (version, jobs) = (raw.version, raw.jobs.unwrap_or_default());
            Ok((Output { version, jobs, diagnostics: object.notes }, object.length))
        }
        _ => Err(None),
    }
}

/// fio's version, from a result that cannot be read.
fn version(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\"fio version\"")?;
    let word = rest.trim_start_matches([' ', ':', '"']).split(['"', '\n']).next()?;
    Some(word).filter(|word| word.len() < 64 && word.starts_with("fio-"))
}
