//! index.html of a comparison: one file, without scripts, that works offline.

use askama::Template;
use bench_results::compare::Judged;

use super::{CompareReport, tables};
use crate::ReportError;
use crate::html::{CSS, Shown, whole};

#[derive(Template)]
#[template(path = "compare.html")]
struct Page<'a> {
    report: &'a CompareReport<'a>,
    css: &'static str,
    figures: Vec<Shown>,
    rows: Vec<&'a Judged>,
    remarks: Vec<String>,
}

impl CompareReport<'_> {
    /// The page, with all figures in it.
    pub fn html(&self) -> Result<String, ReportError> {
        let figures = self.figures().into_iter().map(Shown::new).collect::<Result<_, _>>()?;
        let rows = self.judgement.deciding().collect();
        let page = Page { report: self, css: CSS, figures, rows, remarks: self.remarks() };
        Ok(whole(&page.render()?))
    }
}
