//! compare.md: fits into a comment of a pull request, which a bot finds again by the hidden marker in its first line.

use super::CompareReport;
use crate::figures::Table;
use crate::markdown::{Page, escaped};

/// A comment of GitHub holds 65,536 characters; the rest is for what is around it.
const MOST_BYTES: usize = 60_000;
/// Of them, most for the table at the top, whose rows come again with all that is known of them.
const MOST_AT_TOP: usize = 30_000;
/// Most for what the reader should know besides.
const MOST_REMARKS: usize = 8_000;
/// What is kept for the sentences between and the ends of folds.
const RESERVE: usize = 2_000;

impl CompareReport<'_> {
    /// The first line of the Markdown form, the same for all comparisons of these suites.
    pub fn marker(&self) -> String {
        let plain = self.suite().chars().filter(|c| c.is_ascii_alphanumeric() || "-,+".contains(*c));
        format!("<!-- bench compare: {} -->", plain.take(200).collect::<String>())
    }

    /// The comparison as GitHub-flavoured Markdown: worst first, details folded, and never longer than a comment may be.
    pub fn markdown(&self) -> String {
        let mut out = Page::default();
        out.text.push_str(&format!("{}\n", self.marker()));
        out.line(&format!("## bench compare {}", self.outcome_text()));
        out.line(&format!("**{}**", escaped(&self.judgement.headline)));
        let deciding = self.deciding_table();
        out.shortened(&narrow(&deciding), MOST_AT_TOP);
        self.remarks_list(&mut out);
        let left = |out: &Page| MOST_BYTES.saturating_sub(out.text.len() + RESERVE);
        out.fold("How it was judged", |out| {
            out.line(&escaped(&self.method_text()));
            out.line(&escaped(&self.tests_text()));
            out.shortened(&deciding, left(out));
        });
        let informing = self.informing_table();
        if !informing.rows.is_empty() {
            out.fold("What informs and decides nothing", |out| out.shortened(&informing, left(out)));
        }
        out.text
    }

    fn remarks_list(&self, out: &mut Page) {
        let items: Vec<String> = self.remarks().iter().map(|remark| format!("- {}\n", escaped(remark))).collect();
        let shown = fitting(items.iter().map(String::len), MOST_REMARKS);
        out.text.push_str(&items[..shown].concat());
        if shown < items.len() {
            out.text.push_str(&format!("- {} more in the report\n", items.len() - shown));
        }
        if !items.is_empty() {
            out.text.push('\n');
        }
    }
}

/// How many of the first fit into so many bytes.
fn fitting(lengths: impl Iterator<Item = usize>, most_bytes: usize) -> usize {
    let mut sum = 0;
    let fits = lengths.take_while(|length| {
        sum += length;
        sum <= most_bytes
    });
    fits.count()
}

/// The first five columns: what fits beside each other in a comment.
fn narrow(table: &Table) -> Table {
    let first = |row: &Vec<String>| row.iter().take(5).cloned().collect();
    Table { head: first(&table.head), rows: table.rows.iter().map(first).collect() }
}

impl Page {
    /// A table's first rows, as many as fit into so many bytes, and how many more there are.
    fn shortened(&mut self, table: &Table, most_bytes: usize) {
        let length = |row: &Vec<String>| row.iter().map(|cell| escaped(cell).len() + 3).sum::<usize>() + 2;
        let shown = fitting(table.rows.iter().map(length), most_bytes);
        if shown > 0 {
            self.table(&Table { head: table.head.clone(), rows: table.rows[..shown].to_vec() });
        }
        if shown < table.rows.len() {
            self.line(&format!("{} more in the report.", table.rows.len() - shown));
        }
    }

    /// Folded until the reader opens it.
    fn fold(&mut self, summary: &str, content: impl FnOnce(&mut Page)) {
        self.line(&format!("<details><summary>{}</summary>", escaped(summary)));
        content(self);
        self.line("</details>");
    }
}
