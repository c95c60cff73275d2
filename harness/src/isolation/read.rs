//! Probes that read files, inside and outside alike.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bench_results::isolation::{How, Probe, VALUE_CHARS};
use bench_results::record::Sight;
use sha2::{Digest, Sha256};

use super::{Tried, call, name_of, sight};

/// Most bytes of a file that are read.
const MOST_BYTES: u64 = 4 << 20;
/// Digits of a digest that are kept.
const DIGITS: usize = 16;

/// Read what a probe reads; `program`: the file whose pages are asked about.
pub(super) fn read(probe: &Probe, program: &Path) -> Sight {
    let found = match probe.how {
        How::Text(path) => text(path).and_then(|bytes| some(shortened(&bytes))),
        How::Field(path, name) => text(path).and_then(|bytes| field(&bytes, name)),
        How::Sum(path, name) => text(path).and_then(|bytes| sum(&bytes, name)),
        How::Words(path) => text(path).and_then(|bytes| some(words(&bytes))),
        How::Link(path) => std::fs::read_link(path).map(|to| to.display().to_string()).map_err(|e| name_of(&e)),
        How::Names(path) => names(path),
        How::Call => call::find(probe.id).map_or_else(|| Err("there is no such call".to_owned()), |call| call(program)),
    };
    sight(found)
}

/// The bytes of a file.
pub(super) fn text(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|e| name_of(&e))
}

/// The first digits of the SHA-256 of bytes: what is equal has the same, and nothing else is told.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256 {}…", &digits[..DIGITS])
}

/// Nothing is alike everywhere, and what a file is covered with.
fn some(text: String) -> Tried {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
}

/// A text in one line; a long one as its digest and length.
fn shortened(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.chars().count() {
        ..=VALUE_CHARS => plain,
        _ => format!("{} bytes, {}", bytes.len(), digest(bytes)),
    }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

/// The rest of the first line that begins so.
fn field(bytes: &[u8], name: &str) -> Tried {
    let rest = lines(bytes).into_iter().find_map(|line| line.strip_prefix(name).map(str::to_owned));
    let rest = rest.map(|rest| shortened(rest.trim_start_matches([':', ' ', '\t']).as_bytes()));
    rest.ok_or_else(|| format!("there is no line `{name}`"))
}

/// The sum of all numbers in the lines that begin so.
fn sum(bytes: &[u8], name: &str) -> Tried {
    let lines: Vec<String> = lines(bytes).into_iter().filter(|line| line.starts_with(name)).collect();
    // Averages of the pressure rise and fall; its total grows.
    let number = |word: &str| word.trim_start_matches("total=").parse::<f64>().ok();
    let numbers = lines.iter().flat_map(|line| line.split_whitespace()).filter_map(number);
    let numbers: Vec<f64> = numbers.filter(|number| number.is_finite()).collect();
    match numbers.is_empty() {
        true => Err("there is no number".to_owned()),
        false => Ok(numbers.iter().sum::<f64>().to_string()),
    }
}

/// The first word of each line.
fn words(bytes: &[u8]) -> String {
    let first = |line: &String| line.split_whitespace().next().map(str::to_owned);
    shortened(lines(bytes).iter().filter_map(first).collect::<Vec<_>>().join(" ").as_bytes())
}

/// The names in a folder, sorted.
fn names(path: &str) -> Tried {
    let entries = std::fs::read_dir(path).map_err(|e| name_of(&e))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    some(shortened(names.join(" ").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_the_table_says() {
        let stat = b"cpu  1 2\nintr 10 3 4\nctxt 7\nbtime 99\n";
        assert_eq!(sum(stat, "intr").unwrap(), "17");
        assert_eq!(field(stat, "btime").unwrap(), "99");
        assert!(field(stat, "none").is_err() && sum(stat, "none").is_err());
        assert_eq!(sum(b"some avg10=0.50 total=41\n", "some").unwrap(), "41");
        assert_eq!(words(b"ext4 x\n\nvfat y\n"), "ext4 vfat");
        assert_eq!(shortened(b" a\nb\0"), "a b ");
        let long = shortened("x".repeat(VALUE_CHARS + 1).as_bytes());
        assert!(long.starts_with("301 bytes, sha256 ") && long.len() < 50, "{long}");
        assert_eq!(text("/no/such"), Err("ENOENT".to_owned()));
    }
}
