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
    answer: Option<&'a Shown<'a>>,
    figures: &'a [Shown<'a>],
    citation: &'static str,
    machine: &'static str,
}

/// A figure as the page shows it.
struct Shown<'a> {
    figure: &'a Figure,
    svg: String,
    table: Table,
}

impl Report {
    /// The page, with all figures in it.
    pub fn html(&self) -> Result<String, ReportError> {
        let mut shown = Vec::with_capacity(self.figures.len());
        for figure in &self.figures {
            shown.push(Shown { figure, svg: figure.inline_svg()?, table: figure.table() });
        }
        let (answer, figures) = match shown.split_first() {
            Some((answer, figures)) => (Some(answer), figures),
            None => (None, &[][..]),
        };
        let css = include_str!("../templates/report.css");
        let page = Page { report: self, css, answer, figures, citation: &paper().citation, machine: &paper().machine };
        Ok(page.render()?)
    }

    fn has_noise_floor(&self) -> bool {
        self.results.iter().any(|row| row.noise_floor.is_some())
    }

    fn margin_text(&self) -> Option<String> {
        self.margin.map(|margin| format!("±{}", units::percent(margin)))
    }
}
