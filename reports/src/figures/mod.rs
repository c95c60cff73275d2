//! The figures: data that says what is drawn, one drawing function each for every backend, and its numbers as a table.

mod answer;
mod axis;
mod bars;
mod canvas;
mod curves;
mod overlay;
mod spans;
#[cfg(test)]
mod tests;

use std::path::Path;

use plotters::prelude::*;

pub(crate) use answer::{Answer, AnswerMark, AnswerRow, Column};
pub(crate) use bars::{Bar, BarGroup, BarPanel, Bars};
use canvas::{Anchor, Canvas, Drawn, Ink, LABEL, SMALL, Shape, TITLE};
pub(crate) use curves::{Curve, CurvePanel, Curves};
pub(crate) use overlay::{Overlay, OverlayPanel};
pub(crate) use spans::{Span, SpanRow, Spans};

/// Width of every figure in logical pixels.
const WIDTH: f64 = 960.0;
/// Space at the left and right edge.
const EDGE: f64 = 16.0;
/// Blocks that are drawn as dots: more are one smear, and a page of megabytes.
const MOST_DOTS: usize = 100;
/// Pixels of a PNG for each logical pixel.
const PNG_SCALE: f64 = 2.0;

/// Of so many blocks, every how many one is drawn.
pub(crate) fn every(blocks: usize) -> usize {
    blocks.div_ceil(MOST_DOTS).max(1)
}

/// A figure could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// The embedded font cannot be read: a broken build.
    #[error("the embedded font cannot be read: this build of bench is broken")]
    Font,
    /// The backend refused.
    #[error("drawing the figure {figure}: {reason}")]
    Drawing {
        /// Name of the figure.
        figure: String,
        /// What the backend said.
        reason: String,
    },
}

/// How an environment looks and is called in every figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    /// Name for people.
    pub(crate) label: String,
    /// Place in the palette.
    pub(crate) slot: usize,
    /// Drawn apart, never judged.
    pub(crate) emulated: bool,
}

/// The numbers of a figure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Heading of each column.
    pub(crate) head: Vec<String>,
    /// Cells; the first of a row is its heading.
    pub(crate) rows: Vec<Vec<String>>,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) enum Drawing {
    Answer(Answer),
    Bars(Bars),
    Curves(Curves),
    Overlay(Overlay),
    Spans(Spans),
}

/// One figure of a report.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Name of its files: `answer`.
    pub(crate) name: &'static str,
    /// What is seen.
    pub(crate) title: String,
    /// How to read it.
    pub(crate) caption: String,
    /// What is drawn.
    pub(crate) drawing: Drawing,
}

impl Figure {
    /// No taller than can be looked at: the size of a picture grows with what it shows, and a record may hold anything.
    pub(crate) fn bounded(mut self) -> Figure {
        const MOST: usize = 60;
        let all = match &mut self.drawing {
            Drawing::Answer(drawing) => cut(&mut drawing.rows, MOST),
            Drawing::Bars(drawing) => {
                drawing.panels.iter_mut().map(|panel| cut(&mut panel.groups, MOST)).max().unwrap_or(0)
            }
            Drawing::Curves(drawing) => cut(&mut drawing.panels, MOST),
            Drawing::Overlay(drawing) => cut(&mut drawing.panels, MOST),
            Drawing::Spans(drawing) => cut(&mut drawing.rows, MOST),
        };
        if all > MOST {
            self.caption.push_str(&format!(" Only the first {MOST} of {all} are shown."));
        }
        self
    }

    /// Its numbers.
    pub(crate) fn table(&self) -> Table {
        match &self.drawing {
            Drawing::Answer(drawing) => drawing.table(),
            Drawing::Bars(drawing) => drawing.table(),
            Drawing::Curves(drawing) => drawing.table(),
            Drawing::Overlay(drawing) => drawing.table(),
            Drawing::Spans(drawing) => drawing.table(),
        }
    }

    /// Height in logical pixels, below its title.
    fn height(&self) -> f64 {
        match &self.drawing {
            Drawing::Answer(drawing) => drawing.height(),
            Drawing::Bars(drawing) => drawing.height(),
            Drawing::Curves(drawing) => drawing.height(),
            Drawing::Overlay(drawing) => drawing.height(),
            Drawing::Spans(drawing) => drawing.height(),
        }
    }

    /// Draw it from `top` on; what is above is for the title.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, top: f64) -> Drawn<DB> {
        canvas.clear()?;
        if top > 0.0 {
            let title = canvas.fit(&self.title, TITLE, WIDTH - 2.0 * EDGE);
            canvas.text(&title, (EDGE, 24.0), TITLE, Ink::Text, Anchor::Start)?;
        }
        match &self.drawing {
            Drawing::Answer(drawing) => drawing.draw(canvas, top),
            Drawing::Bars(drawing) => drawing.draw(canvas, top),
            Drawing::Curves(drawing) => drawing.draw(canvas, top),
            Drawing::Overlay(drawing) => drawing.draw(canvas, top),
            Drawing::Spans(drawing) => drawing.draw(canvas, top),
        }
    }

    fn failed(&self, reason: &dyn std::fmt::Display) -> FigureError {
        FigureError::Drawing { figure: self.name.to_owned(), reason: reason.to_string() }
    }

    fn svg_from(&self, top: f64) -> Result<String, FigureError> {
        canvas::register_fonts()?;
        let mut text = String::new();
        {
            let size = (WIDTH as u32, (top + self.height()).ceil() as u32);
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            self.draw(&Canvas::new(&area, 1.0, 0.08), top).map_err(|error| self.failed(&error))?;
            area.present().map_err(|error| self.failed(&error))?;
        }
        Ok(text)
    }

    /// As a file of its own: black on white.
    pub(crate) fn svg(&self) -> Result<String, FigureError> {
        self.svg_from(TITLE_HEIGHT)
    }

    /// For a page: colours are CSS variables, and the surrounding figure has its title and describes it.
    pub(crate) fn inline_svg(&self) -> Result<String, FigureError> {
        let svg = Ink::to_variables(&self.svg_from(0.0)?);
        let labelled =
            format!("<svg role=\"img\" aria-labelledby=\"{0}-title\" aria-describedby=\"{0}-caption\" ", self.name);
        Ok(svg.replacen("<svg ", &labelled, 1))
    }

    /// Write it to `path`, whose name must end in `.png`.
    pub(crate) fn write_png(&self, path: &Path) -> Result<(), FigureError> {
        canvas::register_fonts()?;
        let size = ((WIDTH * PNG_SCALE) as u32, ((TITLE_HEIGHT + self.height()) * PNG_SCALE).ceil() as u32);
        let area = BitMapBackend::new(path, size).into_drawing_area();
        self.draw(&Canvas::new(&area, PNG_SCALE, 0.23), TITLE_HEIGHT).map_err(|error| self.failed(&error))?;
        area.present().map_err(|error| self.failed(&error))
    }
}

/// Only the first of them; how many there were.
fn cut<T>(all: &mut Vec<T>, most: usize) -> usize {
    let before = all.len();
    all.truncate(most);
    before
}

const TITLE_HEIGHT: f64 = 42.0;
const LEGEND_HEIGHT: f64 = 22.0;

/// What stands for a series in the legend.
#[derive(Clone, Copy)]
enum Key {
    Mark,
    Bar,
    Line,
}

/// The series by lines of a legend. Widths are estimated: a figure has to know its height before anything is drawn.
fn legend_lines(series: &[Series]) -> Vec<&[Series]> {
    const LETTER: f64 = 7.6;
    let mut lines = Vec::new();
    let (mut first, mut width) = (0, 0.0);
    for (at, one) in series.iter().enumerate() {
        let own = 52.0 + LETTER * one.label.chars().count() as f64;
        if at > first && width + own > WIDTH - 2.0 * EDGE {
            lines.push(&series[first..at]);
            (first, width) = (at, 0.0);
        }
        width += own;
    }
    lines.push(&series[first..]);
    lines
}

/// Height of a legend.
fn legend_height(series: &[Series]) -> f64 {
    LEGEND_HEIGHT * legend_lines(series).len() as f64
}

/// Each series' key and name from `top` on.
fn legend<DB: DrawingBackend>(canvas: &Canvas<DB>, series: &[Series], key: Key, top: f64) -> Drawn<DB> {
    for (line, series) in legend_lines(series).into_iter().enumerate() {
        let (mut x, y) = (EDGE, top + 8.0 + LEGEND_HEIGHT * line as f64);
        for one in series {
            let ink = Ink::Environment(one.slot);
            let middle = (x + 12.0, y);
            match key {
                Key::Mark => canvas.mark(middle, Shape::of(one.slot), 5.0, ink, one.emulated)?,
                Key::Bar => {
                    let frame = canvas::Frame { left: x, top: y - 6.0, right: x + 24.0, bottom: y + 6.0 };
                    canvas.bar(frame, one.slot, one.emulated)?;
                }
                Key::Line => {
                    canvas.line((x, y), (x + 24.0, y), ink, 2.0)?;
                    canvas.mark(middle, Shape::of(one.slot), 4.0, ink, one.emulated)?;
                }
            }
            canvas.text(&one.label, (x + 30.0, y), LABEL, Ink::Text, Anchor::Start)?;
            x += 30.0 + canvas.width(&one.label, LABEL) + 22.0;
        }
    }
    Ok(())
}

/// A note in small, muted type, at most `lines` lines from `y` on.
fn note<DB: DrawingBackend>(canvas: &Canvas<DB>, text: &str, y: f64, lines: usize) -> Drawn<DB> {
    for (line, text) in canvas.wrap(text, SMALL, WIDTH - 2.0 * EDGE).iter().take(lines).enumerate() {
        canvas.text(text, (EDGE, y + 15.0 * line as f64), SMALL, Ink::Muted, Anchor::Start)?;
    }
    Ok(())
}
