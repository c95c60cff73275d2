//! compare.md: fits into a comment of a pull request, which a bot finds again by the hidden marker in its first line.

use super::CompareReport;
use crate::figures::Table;
use crate::page::{Page, marker, md};

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
        marker("bench compare", self.suite())
    }

    /// The comparison as GitHub-flavoured Markdown: worst first, details folded, and never longer than a comment may be.
    pub fn markdown(&self) -> String {
        let mut out = Page::default();
        out.marker(&self.marker());
        out.line(&md!("## bench compare {}", self.outcome_text()));
        out.line(&md!("**{}**", self.judgement.headline));
        let deciding = self.deciding_table();
        out.shortened(&narrow(&deciding), MOST_AT_TOP);
        let remarks: Vec<_> = self.remarks().iter().map(|remark| md!("{}", remark)).collect();
        out.items(&remarks, MOST_REMARKS);
        let left = |out: &Page| MOST_BYTES.saturating_sub(out.len() + RESERVE);
        out.fold("How it was judged", |out| {
            out.line(&md!("{}", self.method_text()));
            out.line(&md!("{}", self.tests_text()));
            out.shortened(&deciding, left(out));
        });
        let informing = self.informing_table();
        if !informing.rows.is_empty() {
            out.fold("What informs and decides nothing", |out| out.shortened(&informing, left(out)));
        }
        out.end()
    }
}

/// The first five columns: what fits beside each other in a comment.
fn narrow(table: &Table) -> Table {
    let first = |row: &Vec<String>| row.iter().take(5).cloned().collect();
    Table { head: first(&table.head), rows: table.rows.iter().map(first).collect() }
}
