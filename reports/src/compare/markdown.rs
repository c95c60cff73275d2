//! compare.md: fits into a comment of a pull request, which a bot finds again by the hidden marker in its first line.

use super::CompareReport;
use crate::figures::Table;
use crate::markdown::{Page, escaped};

/// A comment of GitHub holds 65,536 characters; the rest is for what is around it.
const MOST_BYTES: usize = 60_000;

impl CompareReport<'_> {
    /// The first line of the Markdown form, the same for all comparisons of these suites.
    pub fn marker(&self) -> String {
        let suite: String = self.suite().chars().filter(|c| c.is_ascii_alphanumeric() || "-,+".contains(*c)).collect();
        format!("<!-- bench compare: {suite} -->")
    }

    /// The comparison as GitHub-flavoured Markdown: worst first, details folded.
    pub fn markdown(&self) -> String {
        let mut out = Page::default();
        out.text.push_str(&format!("{}\n", self.marker()));
        out.line(&format!("## bench compare {}", self.outcome_text()));
        out.line(&format!("**{}**", escaped(&self.judgement.headline)));
        let deciding = self.deciding_table();
        if !deciding.rows.is_empty() {
            out.table(&narrow(&deciding));
        }
        let remarks = self.remarks();
        for remark in &remarks {
            out.text.push_str(&format!("- {}\n", escaped(remark)));
        }
        if !remarks.is_empty() {
            out.text.push('\n');
        }
        out.fold("How it was judged", |out| {
            out.line(&escaped(&self.method_text()));
            out.line(&escaped(&self.tests_text()));
            out.table(&deciding);
        });
        let mut informing = self.informing_table();
        let whole = informing.rows.len();
        let mut left = MOST_BYTES.saturating_sub(out.text.len());
        informing.rows.retain(|row| {
            let length = row.iter().map(|cell| escaped(cell).len() + 3).sum();
            let fits = left > length;
            left = if fits { left - length } else { 0 };
            fits
        });
        if !informing.rows.is_empty() {
            out.fold("What informs and decides nothing", |out| {
                out.table(&informing);
                if informing.rows.len() < whole {
                    out.line(&format!("{} more in the report.", whole - informing.rows.len()));
                }
            });
        }
        out.text
    }
}

/// The first five columns: what fits beside each other in a comment.
fn narrow(table: &Table) -> Table {
    let first = |row: &Vec<String>| row.iter().take(5).cloned().collect();
    Table { head: first(&table.head), rows: table.rows.iter().map(first).collect() }
}

impl Page {
    /// Folded until the reader opens it.
    fn fold(&mut self, summary: &str, content: impl FnOnce(&mut Page)) {
        self.line(&format!("<details><summary>{}</summary>", escaped(summary)));
        content(self);
        self.line("</details>");
    }
}
