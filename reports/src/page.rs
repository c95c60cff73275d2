//! Markdown: text of ours as it is, and text from elsewhere that means nothing to it.

use std::borrow::Cow;
use std::fmt;

use crate::figures::Table;

/// A piece of Markdown. Made by [`md!`], which escapes whatever is inserted and is not itself Markdown: a page takes nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Markdown(String);

/// As `format!`: the literal is Markdown, what is inserted is text from elsewhere.
macro_rules! md {
    ($text:literal $(, $part:expr)* $(,)?) => {
        // `concat!`, since names within a literal would be inserted as they are.
        $crate::page::Markdown::formatted(format_args!(concat!($text) $(, $crate::page::Part::part(&$part))*))
    };
}
pub(crate) use md;

impl Markdown {
    /// For [`md!`] alone.
    pub(crate) fn formatted(text: fmt::Arguments<'_>) -> Markdown {
        Markdown(text.to_string())
    }

    /// Texts from elsewhere, and ours between them.
    pub(crate) fn joined(texts: &[String], between: &'static str) -> Markdown {
        Markdown(texts.iter().map(|text| escaped(text)).collect::<Vec<_>>().join(between))
    }
}

/// What can be inserted into Markdown.
pub(crate) trait Part {
    /// As Markdown.
    fn part(&self) -> Cow<'_, str>;
}

impl Part for Markdown {
    fn part(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }
}

impl Part for str {
    fn part(&self) -> Cow<'_, str> {
        Cow::Owned(escaped(self))
    }
}

impl Part for String {
    fn part(&self) -> Cow<'_, str> {
        self.as_str().part()
    }
}

impl<T: Part + ?Sized> Part for &T {
    fn part(&self) -> Cow<'_, str> {
        (*self).part()
    }
}

impl Part for usize {
    fn part(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

/// A Markdown document that is being written.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// A paragraph or heading.
    pub(crate) fn line(&mut self, line: &Markdown) {
        self.text.push_str(line.0.trim_start());
        self.text.push_str("\n\n");
    }

    /// A [`marker`].
    pub(crate) fn marker(&mut self, marker: &str) {
        self.text.push_str(marker);
        self.text.push('\n');
    }

    /// A heading and the table below it; nothing for one without rows.
    pub(crate) fn section(&mut self, heading: &'static str, table: &Table) {
        if !table.rows.is_empty() {
            self.line(&md!("## {}", Markdown(heading.to_owned())));
            self.table(table);
        }
    }

    /// A table of texts from elsewhere.
    pub(crate) fn table(&mut self, table: &Table) {
        self.text.push_str(&row(&table.head));
        self.text.push_str(&format!("|{}\n", " --- |".repeat(table.head.len())));
        for cells in &table.rows {
            self.text.push_str(&row(cells));
        }
        self.text.push('\n');
    }

    /// A table's first rows, as many as fit into so many bytes, and how many more there are.
    pub(crate) fn shortened(&mut self, table: &Table, most_bytes: usize) {
        let shown = fitting(table.rows.iter().map(|cells| row(cells).len()), most_bytes);
        if shown > 0 {
            self.table(&Table { head: table.head.clone(), rows: table.rows[..shown].to_vec() });
        }
        if shown < table.rows.len() {
            self.line(&md!("{} more in the report.", table.rows.len() - shown));
        }
    }

    /// A heading and the list below it; nothing for one without items.
    pub(crate) fn list(&mut self, heading: &'static str, items: impl Iterator<Item = Markdown>) {
        let items: Vec<Markdown> = items.collect();
        if !items.is_empty() {
            self.line(&md!("## {}", Markdown(heading.to_owned())));
            self.items(&items, usize::MAX);
        }
    }

    /// A list's first items, as many as fit into so many bytes, and how many more there are.
    pub(crate) fn items(&mut self, items: &[Markdown], most_bytes: usize) {
        let lines: Vec<String> = items.iter().map(|item| format!("- {}\n", item.0.trim_start())).collect();
        let shown = fitting(lines.iter().map(String::len), most_bytes);
        self.text.push_str(&lines[..shown].concat());
        if shown < lines.len() {
            self.text.push_str(&format!("- {} more in the report\n", lines.len() - shown));
        }
        if !lines.is_empty() {
            self.text.push('\n');
        }
    }

    /// Folded until the reader opens it.
    pub(crate) fn fold(&mut self, summary: &'static str, content: impl FnOnce(&mut Page)) {
        self.line(&Markdown(format!("<details><summary>{summary}</summary>")));
        content(self);
        self.line(&md!("</details>"));
    }

    /// A code block whose fence the text cannot close.
    pub(crate) fn code(&mut self, language: &'static str, text: &str) {
        let text = bench_text::line(text);
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(3.max(longest + 1));
        self.line(&Markdown(format!("{fence}{language}\n{text}\n{fence}")));
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// The document.
    pub(crate) fn end(self) -> String {
        self.text
    }
}

/// A line that no reader sees: a name for programs, of letters, digits and `-,+`.
pub(crate) fn marker(about: &'static str, name: &str) -> String {
    let plain = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-,+".contains(*c));
    format!("<!-- {about}: {} -->", plain.take(200).collect::<String>())
}

fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// How many of the first fit into so many bytes.
fn fitting(lengths: impl Iterator<Item = usize>, most_bytes: usize) -> usize {
    let mut sum: usize = 0;
    let fits = lengths.take_while(|length| {
        sum = sum.saturating_add(*length);
        sum <= most_bytes
    });
    fits.count()
}

/// Breaks a word to what looks for mentions, references and links, also where that is done on the rendered text, as GitHub and GitLab
/// do; readers do not see it.
const BREAK: &str = "&#8203;";

/// Text that means nothing to Markdown or HTML, on one line.
fn escaped(text: &str) -> String {
    let text = bench_text::visible(text);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // Formulas begin so.
            '$' => out.push_str("&#36;"),
            ':' if before.is_empty() || before.ends_with(':') => out.push_str("&#58;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => out.extend(['\\', c]),
            // Lists, rules, headings and quotations begin so.
            '-' | '+' | '=' if before.is_empty() => out.extend(['\\', c]),
            '.' | ')' if is_number(before) && !after.starts_with(|next: char| !next.is_whitespace()) => {
                out.extend(['\\', c]);
            }
            c => out.push(c),
        }
        if refers(before, c, after) {
            out.push_str(BREAK);
        }
    }
    out
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// True where a character makes what is around it a mention (`@name`), a reference (`#1`, `!1`, `GH-1`), a picture (`:name:`), or a link
/// (`https://…`, `www.…`, `name@host`).
fn refers(before: &str, c: char, after: &str) -> bool {
    let next = after.chars().next();
    let is_next = |is: fn(char) -> bool| next.is_some_and(is);
    match c {
        '@' => is_next(|next| !next.is_whitespace()),
        '#' | '!' => is_next(char::is_alphanumeric),
        '-' => ends_with_word(before, "gh") && is_next(|next| next.is_ascii_digit()),
        '.' => ends_with_word(before, "www"),
        ':' => after.starts_with("//") || is_picture(after),
        _ => false,
    }
}

/// True where a text ends with this word of ASCII, in any case; looks at no more of it than that.
fn ends_with_word(text: &str, word: &str) -> bool {
    let Some((before, end)) = text.len().checked_sub(word.len()).and_then(|at| text.split_at_checked(at)) else {
        return false;
    };
    end.eq_ignore_ascii_case(word) && !before.ends_with(char::is_alphanumeric)
}

/// The rest of `:name:`. One of digits alone is a time of day.
fn is_picture(after: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-');
    let rest = after.trim_start_matches(is_of_name);
    let name = &after[..after.len() - rest.len()];
    rest.starts_with(':') && name.contains(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_megabytes_takes_no_time() {
        let began = std::time::Instant::now();
        assert_eq!(escaped(&"a".repeat(4 << 20)).len(), 4 << 20);
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    #[test]
    fn nothing_becomes_markup() {
        for (text, shown) in [
            ("<b>|a_b`\n# x", "&lt;b&gt;\\|a\\_b\\` \\# x"),
            ("::error::x", "&#58;&#58;&#8203;error:&#58;x"),
            ("@user a@b.c", "@&#8203;user a@&#8203;b.c"),
            ("#12 a#12 !12 GH-12 high-12", "\\#&#8203;12 a\\#&#8203;12 !&#8203;12 GH-&#8203;12 high-12"),
            ("https://a.b www.a.b", "https:&#8203;//a.b www.&#8203;a.b"),
            (":octocat: at 10:15:00Z", "&#58;&#8203;octocat: at 10:15:00Z"),
            ("- x", "\\- x"),
            ("12. x", "12\\. x"),
            ("1.253", "1.253"),
            ("$x$", "&#36;x&#36;"),
            ("![x](y)", "!\\[x\\](y)"),
            ("##vso[x]", "\\#\\#&#8203;vso\\[x\\]"),
            ("\u{202e}x", "\u{fffd}x"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        assert_eq!(md!("*{}*, {}", "*", md!("{} of `{}`", 3, "a")), Markdown("*\\**, 3 of `a`".to_owned()));
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        let mut page = Page::default();
        page.code("sh", "echo ```\n");
        assert_eq!(page.end(), "````sh\necho ``` \n````\n\n");
    }
}
