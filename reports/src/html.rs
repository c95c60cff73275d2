//! index.html: one file, without scripts, that works offline.

use askama::Template;
use bench_results::paper::paper;

use crate::ReportError;
use crate::figures::{Figure, Table};
use crate::report::Report;
use crate::units;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    css: &'static str,
    answer: Option<&'a Shown>,
    figures: &'a [Shown],
    citation: &'static str,
    machine: &'static str,
}

/// The style of every page.
pub(crate) const CSS: &str = include_str!("../templates/report.css");

/// A figure as a page shows it.
pub(crate) struct Shown {
    pub(crate) figure: Figure,
    pub(crate) svg: String,
    pub(crate) table: Table,
}

impl Shown {
    pub(crate) fn new(figure: Figure) -> Result<Shown, ReportError> {
        Ok(Shown { svg: figure.inline_svg()?, table: figure.table(), figure })
    }
}

impl Report {
    /// The page, with all figures in it.
    pub fn html(&self) -> Result<String, ReportError> {
        let shown = self.figures.iter().cloned().map(Shown::new).collect::<Result<Vec<_>, _>>()?;
        let (answer, figures) = match shown.split_first() {
            Some((answer, figures)) => (Some(answer), figures),
            None => (None, &[][..]),
        };
        let page =
            Page { report: self, css: CSS, answer, figures, citation: &paper().citation, machine: &paper().machine };
        Ok(units::together(&page.render()?))
    }

    fn has_noise_floor(&self) -> bool {
        self.results.iter().any(|row| row.noise_floor.is_some())
    }

    fn margin_text(&self) -> Option<String> {
        self.margin.map(|margin| format!("±{}", units::percent(margin)))
    }
}
