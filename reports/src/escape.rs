//! The doors through which text from elsewhere comes into HTML and XML, CSV and JSON; Markdown's is [`crate::page`], and what is
//! drawn passes through `Canvas`.

use std::borrow::Cow;
use std::fmt::{self, Write};

use serde::Serialize;

/// What askama escapes with (`askama.toml`): text and attributes in double quotes, in HTML and in XML 1.0, without characters that
/// are not seen or that XML forbids, and without anything that a CI system takes for a command when it prints the document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Markup;

impl askama::filters::Escaper for Markup {
    fn write_escaped_str<W: Write>(&self, mut to: W, text: &str) -> fmt::Result {
        let mut before = None;
        for c in bench_text::visible(text).chars() {
            match c {
                '<' | '>' | '&' | '"' | '\'' => write!(to, "&#{};", u32::from(c))?,
                // A template's own colon may stand before it, and `##` may begin in it.
                ':' if matches!(before, None | Some(':')) => to.write_str("&#58;")?,
                '#' if matches!(before, None | Some('#')) => to.write_str("&#35;")?,
                c => to.write_char(c)?,
            }
            before = Some(c);
        }
        Ok(())
    }
}

/// A text as a field of CSV (RFC 4180): on one line, and no formula to a spreadsheet, to which a quote in front says that it is text.
pub(crate) fn csv_field(text: &str) -> Cow<'_, str> {
    // Spreadsheets take the wide forms for the same.
    const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let field = bench_text::line(text);
    let field =
        if text.starts_with(FORMULA) || text.starts_with(char::is_control) || field.trim_start().starts_with(FORMULA) {
            Cow::Owned(format!("'{field}"))
        } else {
            field
        };
    if field.contains([',', '"', ';']) { format!("\"{}\"", field.replace('"', "\"\"")).into() } else { field }
}

/// A value as JSON for people and programs, ended by a line end.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut text = bench_text::json(&serde_json::to_string_pretty(value)?).into_owned();
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use askama::filters::Escaper;

    use super::*;

    #[test]
    fn nothing_becomes_markup() {
        let mut out = String::new();
        Markup.write_escaped_str(&mut out, "<a b=\"'&'\">::x\u{1b}\u{202e}\u{fffe}##[y] 10:15 µ").unwrap();
        assert_eq!(out, "&#60;a b=&#34;&#39;&#38;&#39;&#34;&#62;:&#58;x \u{fffd}\u{fffd}#&#35;[y] 10:15 µ");
        let mut out = String::new();
        Markup.write_escaped_str(&mut out, "::x").unwrap();
        assert_eq!(out, "&#58;&#58;x");
    }

    #[test]
    fn fields_that_need_it_are_quoted_and_none_is_a_formula() {
        for (text, field) in [
            ("rand-read", "rand-read"),
            ("a,\"b\"\n", "\"a,\"\"b\"\" \""),
            ("=1+1", "'=1+1"),
            ("-x", "'-x"),
            ("+x", "'+x"),
            ("@x", "'@x"),
            ("\t=1", "' =1"),
            ("\rx", "' x"),
            (" =1", "' =1"),
            ("＝1", "'＝1"),
            ("=a,b", "\"'=a,b\""),
            ("##vso[x]", "# #vso[x]"),
        ] {
            assert_eq!(csv_field(text), field);
        }
    }
}
