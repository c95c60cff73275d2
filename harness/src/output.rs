//! Writing to the user: results on standard output, the rest on standard error.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result};

/// Text for a terminal: what came from inside an environment, or from a stranger's record, could otherwise move the cursor, name
/// the window or type for the user. Lines, tabs and colours remain.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let is_colour = || {
            let rest = text[at..].strip_prefix("\x1b[").unwrap_or_default();
            rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m')
        };
        if !c.is_control() || matches!(c, '\n' | '\t') || is_colour() {
            plain.push(c);
        } else {
            plain.push('\u{fffd}');
        }
    }
    Cow::Owned(plain)
}

/// Print a result. A reader that went away (`| head`) has read what it wanted: that is no error, and the exit code stays what it
/// would have been. Anything else that keeps the result from its reader, such as a full disk, is one.
pub fn print(text: &str) -> Result<()> {
    match write_to(std::io::stdout().as_fd(), plain(text).as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).context("writing the result to standard output"),
        _ => Ok(()),
    }
}

/// Print a result and end the line.
pub fn print_line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// All bytes to a descriptor, at once: what a buffer holds until the end of the process is written when nobody looks at errors
/// any more, and std takes a descriptor that is not open for writing for one that leads nowhere.
pub fn write_to(to: impl AsFd, bytes: &[u8]) -> std::io::Result<()> {
    File::from(to.as_fd().try_clone_to_owned()?).write_all(bytes)
}

/// A line on standard error. Where nobody can read it (a closed pipe, a full disk behind `2>`) work goes on: what was changed on the
/// machine must still be undone, and the exit code says how it ended.
#[cfg_attr(test, allow(dead_code, reason = "tests say what they skip through the test harness"))]
pub fn tell(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{}", plain(text)));
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

/// Rows in columns, for lists: the columns are as wide as their widest cell, two spaces apart.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| wide(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Bytes for people, in the largest binary unit that keeps the figure readable.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) if bytes.is_multiple_of(*size) => format!("{} {unit}", bytes / size),
        Some((unit, size)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
        None => format!("{bytes} bytes"),
    }
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
    fn only_lines_tabs_and_colours_reach_a_terminal() {
        assert_eq!(plain("a\tb\nç \x1b[1;31mred\x1b[0m"), "a\tb\nç \x1b[1;31mred\x1b[0m");
        assert_eq!(
            plain("\x1b]0;title\x07 \x1b[2J \r\u{9b}5n"),
            "\u{fffd}]0;title\u{fffd} \u{fffd}[2J \u{fffd}\u{fffd}5n"
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(columns(&rows), "a    bb\nccc  d\n");
    }
}
