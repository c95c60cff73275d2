//! index.html: one file, without scripts, that works offline.

use askama::Template;
use bench_results::paper::paper;

use crate::ReportError;
use crate::figures::{Figure, Table};
use crate::isolation;
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

/// A page on which percentages stay whole where lines are broken, and so do options of commands, which browsers break at dashes.
pub(crate) fn whole(page: &str) -> String {
    let (head, body) = page.split_at(page.find("<body>").unwrap_or(0));
    let mut out = head.to_owned();
    let mut is_drawing = false;
    // In each part text and then a tag: in text, `<` and `>` are escaped.
    for part in body.split_inclusive('>') {
        let (text, tag) = part.split_at(part.find('<').unwrap_or(part.len()));
        for word in text.split_inclusive(char::is_whitespace) {
            let (word, space) = word.split_at(word.trim_end().len());
            match is_option(word) && !is_drawing {
                true => out.push_str(&format!("<span class=\"option\">{word}</span>{space}")),
                false => out.extend([word, space]),
            }
        }
        out.push_str(tag);
        is_drawing = tag.starts_with("<svg") || is_drawing && !tag.starts_with("</svg");
    }
    units::together(&out)
}

fn is_option(word: &str) -> bool {
    word.split_once("--").is_some_and(|(_, name)| name.starts_with(|first: char| first.is_ascii_lowercase()))
}

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
        Ok(whole(&page.render()?))
    }

    fn has_noise_floor(&self) -> bool {
        self.results.iter().any(|row| row.noise_floor.is_some())
    }

    fn margin_text(&self) -> Option<String> {
        self.margin.map(|margin| format!("±{}", units::percent(margin)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_percentages_are_not_broken_and_nothing_else_is_touched() {
        let head = "<title>--a</title><style>a { color: var(--ink); }</style><body>";
        let drawing = r#"<svg fill="var(--ink)"><text>--b</text></svg>"#;
        let page = format!("{head}{drawing}<p id=\"--c\">5 % more\n(--blocks 17) -- a--B, <b>--margin</b></p>");
        let expected = format!(
            "{head}{drawing}<p id=\"--c\">5\u{a0}% more\n<span class=\"option\">(--blocks</span> 17) -- a--B, \
             <b><span class=\"option\">--margin</span></b></p>"
        );
        assert_eq!(whole(&page), expected);
    }
}
