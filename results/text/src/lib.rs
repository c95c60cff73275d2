//! Text from elsewhere, made harmless: of a record, a file's name, an argument, a tool.
//!
//! Such text may hold escape sequences, characters that hide or reorder what is around them, and lines that a CI system takes for
//! commands to itself. Whatever `bench` writes for people or for other programs passes through one of these functions; what a
//! format adds to that (the entities of HTML, the backslashes of Markdown) is in `bench-reports`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::borrow::Cow;

/// Stands where a character was that must not be shown.
const REPLACEMENT: char = '\u{fffd}';

/// True for a character that has no place in text: control characters, what orders text from right to left (UAX #9), everything
/// that is not seen (Default_Ignorable_Code_Point of the Unicode Character Database), separators of lines and paragraphs, and
/// noncharacters.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || u32::from(c) & 0xfffe == 0xfffe
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The text on one line, as it is seen: a space for each control character, line ends among them, and U+FFFD for whatever else is
/// hidden. As many characters as before.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if c.is_control() { ' ' } else { REPLACEMENT };
    Cow::Owned(text.chars().map(|c| if is_hidden(c) { shown(c) } else { c }).collect())
}

/// [`visible`] text that is no command to a CI system either, for formats that cannot escape it: see [`without_commands`].
pub fn line(text: &str) -> Cow<'_, str> {
    match visible(text) {
        Cow::Borrowed(text) => without_commands(text),
        Cow::Owned(text) => Cow::Owned(without_commands(&text).into_owned()),
    }
}

/// Several lines for a terminal or a log. Line ends and tabs remain; anything else that is hidden becomes U+FFFD, and no line is
/// a command to a CI system.
pub fn lines(text: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| matches!(c, '\n' | '\t') || !is_hidden(c);
    if text.chars().all(is_harmless) && text.split('\n').all(|line| matches!(without_commands(line), Cow::Borrowed(_)))
    {
        return Cow::Borrowed(text);
    }
    let text: String = text.chars().map(|c| if is_harmless(c) { c } else { REPLACEMENT }).collect();
    Cow::Owned(text.split('\n').map(without_commands).collect::<Vec<_>>().join("\n"))
}

/// One line in which no CI system finds a command, broken by a space where there was one. GitHub executes `::name::` at the
/// beginning of a line, behind white space as well, and `##[name]` anywhere in it; Azure Pipelines `##[name]` and `##vso[...]`,
/// TeamCity `##teamcity[...]`.
pub fn without_commands(line: &str) -> Cow<'_, str> {
    let mut breaks = hash_commands(line);
    let blank = line.len() - line.trim_start().len();
    if line[blank..].starts_with("::") {
        breaks.push(blank);
    }
    if breaks.is_empty() {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len() + breaks.len());
    let mut from = 0;
    for at in breaks.into_iter().rev() {
        out.push_str(&line[from..=at]);
        out.push(' ');
        from = at + 1;
    }
    out.push_str(&line[from..]);
    Cow::Owned(out)
}

/// Where `##[`, `##name[`, or more of `#` before one of them begin, the last first: in one pass from the end, since a text may be
/// megabytes of `#`.
fn hash_commands(line: &str) -> Vec<usize> {
    let bytes = line.as_bytes();
    let (mut found, mut is_name, mut is_rest) = (Vec::new(), false, false);
    for (at, &byte) in bytes.iter().enumerate().rev() {
        if byte == b'#' {
            if is_rest && bytes.get(at + 1) == Some(&b'#') {
                found.push(at);
            }
            is_name = false;
            continue;
        }
        // What a name and its bracket, or the bracket alone, begin with.
        is_name = byte == b'[' || is_name && (byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        is_rest = is_name;
    }
    found
}

/// A JSON document that says the same and shows nothing hidden: such characters, and what begins a command to a CI system, are
/// written as `\u` escapes. Only for text that a JSON writer made: outside of its strings there is none of these.
pub fn json(document: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| c == '\n' || !is_hidden(c);
    if !document.contains("##") && document.chars().all(is_harmless) {
        return Cow::Borrowed(document);
    }
    let mut out = String::with_capacity(document.len() + 64);
    let mut before = None;
    for c in document.chars() {
        if is_harmless(c) && (before, c) != (Some('#'), '#') {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
        before = Some(c);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_hidden_is_replaced_and_what_is_seen_stays() {
        assert_eq!(visible("ç 漢 µ → ≠ é"), "ç 漢 µ → ≠ é");
        assert_eq!(visible("a\r\n\tb\u{1b}[31m"), "a   b [31m");
        assert_eq!(
            visible("\u{202e}abc\u{2066}\u{200b}\u{feff}\u{e0041}\u{fffe}"),
            "\u{fffd}abc\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(lines("a\tb\n\rc\u{9b}5n\u{1b}[1m"), "a\tb\n\u{fffd}c\u{fffd}5n\u{fffd}[1m");
        assert!(matches!(lines("as it is\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn megabytes_of_what_may_begin_a_command_take_no_time() {
        let began = std::time::Instant::now();
        for text in ["#".repeat(4 << 20), "##a".repeat(1 << 20), format!("{}[", "#".repeat(4 << 20))] {
            assert!(line(&text).len() >= text.len());
        }
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    #[test]
    fn no_line_is_a_command() {
        for (text, said) in [
            ("::error::x", ": :error::x"),
            ("a\n \t::set-output name=a::b", "a\n \t: :set-output name=a::b"),
            ("\r::error::x", "\u{fffd}::error::x"),
            ("\u{a0}::error::x", "\u{a0}: :error::x"),
            ("x ##vso[task.setvariable variable=a]b", "x # #vso[task.setvariable variable=a]b"),
            ("###[error]", "# # #[error]"),
            ("##teamcity[x] ##[y]", "# #teamcity[x] # #[y]"),
            ("## heading, std::fmt, a[0]", "## heading, std::fmt, a[0]"),
        ] {
            assert_eq!(lines(text), said);
        }
        assert_eq!(line("\r::error::x"), " : :error::x");
    }

    #[test]
    fn json_says_the_same() {
        let text = "##[error]\\##\u{202e}\u{7f}\u{e0041}";
        let document = serde_json::to_string_pretty(&[text]).unwrap();
        let shown = json(&document);
        assert!(shown.is_ascii() && !shown.contains("##"), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [text]);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_harmless_and_stays_so(text in "(::|##|#|\\[|error|vso| |\t|\r|\n|\u{1b}\\[1m|\u{202e}|\\PC){0,24}") {
            for shown in [lines(&text), line(&text)] {
                for line in shown.split('\n') {
                    prop_assert!(!line.trim_start().starts_with("::"), "{:?}", line);
                    prop_assert!(!line.chars().any(|c| c != '\t' && is_hidden(c)), "{:?}", line);
                    for command in ["##[", "##vso[", "##error["] {
                        prop_assert!(!line.contains(command), "{:?}", line);
                    }
                }
                prop_assert_eq!(&lines(&shown), &shown);
            }
            let document = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json(&document)).unwrap(), text);
        }
    }
}
