//! Writing to the user: results on standard output, the rest on standard error.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
pub use bench_results::limits::size as bytes;
use serde::Serialize;

/// Print text for people. What came from inside an environment, from a stranger's record or from a file's name could otherwise move
/// the cursor, name the window, type for the user, or be a command to a CI system: see [`bench_text::lines`].
///
/// A reader that went away (`| head`) has read what it wanted: that is no error, and the exit code stays what it would have been.
/// Anything else that keeps the result from its reader, such as a full disk, is one.
pub fn print(text: &str) -> Result<()> {
    print_document(&bench_text::lines(text))
}

/// Print a text for people and end the line.
pub fn print_line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Print a document as it is: bench-reports made it, and each of its formats is harmless by itself, colours and annotations included.
pub fn print_document(document: &str) -> Result<()> {
    print_written(|to| to.write_all(document.as_bytes()))
}

/// Such a document, as it is written: one that may be too long to be held.
pub fn print_written(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let written = std::io::stdout().as_fd().try_clone_to_owned().and_then(|stdout| {
        let mut to = BufWriter::new(File::from(stdout));
        write(&mut to)?;
        to.flush()
    });
    match written {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).context("writing the result to standard output"),
        _ => Ok(()),
    }
}

/// Print a value as JSON.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let document = serde_json::to_string_pretty(value).context("writing JSON")?;
    print_document(&format!("{}\n", bench_text::json(&document)))
}

/// All bytes to a descriptor, at once: what a buffer holds until the end of the process is written when nobody looks at errors
/// any more, and std takes a descriptor that is not open for writing for one that leads nowhere.
pub fn write_to(to: impl AsFd, bytes: &[u8]) -> std::io::Result<()> {
    File::from(to.as_fd().try_clone_to_owned()?).write_all(bytes)
}

/// A line on standard error, or several, as harmless as those of [`print`]. Where nobody can read it (a closed pipe, a full disk behind `2>`) work goes on: what was changed on the
/// machine must still be undone, and the exit code says how it ended.
#[cfg_attr(test, allow(dead_code, reason = "tests say what they skip through the test harness"))]
pub fn tell(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{}", bench_text::lines(text)));
}

/// True when standard output is a terminal and the user did not ask for plain text.
pub fn in_color() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of the terminal; 100 where there is none.
pub fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .map_or(100, |size| if size.ws_col == 0 { 100 } else { usize::from(size.ws_col) })
}

/// Rows in columns, for lists: the columns are as wide as their widest cell, two spaces apart. A cell has one line.
pub fn columns(rows: &[Vec<String>]) -> String {
    let visible = |row: &Vec<String>| row.iter().map(|cell| bench_text::visible(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(visible).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| wide(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Seconds for people.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole % 3600 / 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        assert_eq!(bytes(1 << 30), "1 GiB");
        assert_eq!(bytes(1_500_000), "1.4 MiB");
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(duration(59.6), "1 min 00 s");
        assert_eq!(duration(3720.0), "1 h 02 min");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(columns(&rows), "a    bb\nccc  d\n");
        assert_eq!(columns(&[vec!["a\nb".to_owned(), "c".into()]]), "a b  c\n");
    }
}
