//! The answer: one row per workload, each environment's ratio to the reference, and which side of 1 is better.

use bench_results::Direction;
use bench_results::verdict::edges;
use plotters::prelude::*;

use super::axis::{Axis, tick_text};
use super::canvas::{Anchor, Canvas, Drawn, Frame, Ink, LABEL, SMALL, STRONG, Shape};
use super::{EDGE, Key, LEGEND_HEIGHT, Series, Table, WIDTH, legend, legend_height};
use crate::units;

/// Data of the figure. All ratios are of the row's metric as it is named, as in every table: above 1 is more of it, and the row says
/// whether that is better.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// What the values are divided by: `native`.
    pub(crate) base: String,
    /// The environments with marks on the axis, in the order of [`AnswerRow::marks`].
    pub(crate) series: Vec<Series>,
    /// Columns of numbers beside the axis, in the order of [`AnswerRow::apart`]: emulated environments.
    pub(crate) apart: Vec<Column>,
    /// The margin, where verdicts are given.
    pub(crate) margin: Option<f64>,
    /// What the hollow marks are, where there are any.
    pub(crate) hollow: Option<String>,
    /// One per workload.
    pub(crate) rows: Vec<AnswerRow>,
}

/// A column of numbers that do not belong on the axis.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// What they are.
    pub(crate) heading: String,
    /// Why they are not on the axis.
    pub(crate) remark: String,
}

/// One workload.
#[derive(Debug, Clone)]
pub(crate) struct AnswerRow {
    /// Name of the workload.
    pub(crate) label: String,
    /// The metric that the ratios are of.
    pub(crate) metric: String,
    /// Which side of 1 is better.
    pub(crate) better: Direction,
    /// One per series; absent where nothing could be compared.
    pub(crate) marks: Vec<Option<AnswerMark>>,
    /// One text per column.
    pub(crate) apart: Vec<String>,
    /// The control's interval: differences within it are noise of this run.
    pub(crate) noise: Option<(f64, f64)>,
}

/// One environment in one workload.
#[derive(Debug, Clone)]
pub(crate) struct AnswerMark {
    /// Geometric mean over blocks.
    pub(crate) ratio: f64,
    /// Its 95 % interval.
    pub(crate) interval: Option<(f64, f64)>,
    /// The ratio of each block.
    pub(crate) blocks: Vec<f64>,
    /// The paper's ratio.
    pub(crate) paper: Option<f64>,
}

const LABELS: f64 = 190.0;
/// Beside the axis, for the arrows to the better side.
const ARROW: f64 = 56.0;
const APART: f64 = 150.0;
const LANE: f64 = 20.0;

impl Answer {
    fn row_height(&self) -> f64 {
        (self.series.len() as f64 * LANE + 14.0).max(56.0)
    }

    fn plot_height(&self) -> f64 {
        self.row_height() * self.rows.len().max(1) as f64
    }

    /// Space for legend and headings of columns.
    fn above(&self) -> f64 {
        legend_height(&self.series) + LEGEND_HEIGHT + if self.apart.is_empty() { 26.0 } else { 48.0 }
    }

    pub(super) fn height(&self) -> f64 {
        if self.rows.is_empty() {
            return 60.0;
        }
        self.above() + self.plot_height() + 56.0
    }

    /// From the intervals, the paper's marks and the margin; a block far outside is cut at the edge.
    fn range(&self) -> (f64, f64) {
        let marks = || self.rows.iter().flat_map(|row| row.marks.iter().flatten());
        let margin = self.margin.unwrap_or(0.1);
        let mut low = 1.0 / (1.0 + 1.6 * margin);
        let mut high = 1.0 + 1.6 * margin;
        let mut include = |value: f64| {
            if value.is_finite() && value > 0.0 {
                low = low.min(value);
                high = high.max(value);
            }
        };
        for mark in marks() {
            [Some(mark.ratio), mark.paper].into_iter().flatten().for_each(&mut include);
            if let Some((from, to)) = mark.interval {
                // An interval of two blocks may span any number of decades.
                include(from.max(mark.ratio / 4.0));
                include(to.min(mark.ratio * 4.0));
            }
        }
        for row in &self.rows {
            if let Some((from, to)) = row.noise {
                include(from.max(0.5));
                include(to.min(2.0));
            }
        }
        let (hull_low, hull_high) = (low, high);
        for block in marks().flat_map(|mark| &mark.blocks).copied().filter(|block| block.is_finite() && *block > 0.0) {
            low = low.min(block.max(hull_low / 1.5));
            high = high.max(block.min(hull_high * 1.5));
        }
        let pad = (high / low).powf(0.04);
        ((low / pad).max(1e-4), (high * pad).min(1e4))
    }

    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, top: f64) -> Drawn<DB> {
        if self.rows.is_empty() {
            let at = (EDGE, top + self.height() / 2.0);
            return canvas.text("no measurement yet", at, LABEL, Ink::Muted, Anchor::Start);
        }
        self.draw_legend(canvas, top)?;
        let top = top + self.above();
        let frame = Frame {
            left: EDGE + LABELS + ARROW,
            top,
            right: WIDTH - EDGE - ARROW - APART * self.apart.len() as f64,
            bottom: top + self.plot_height(),
        };
        let axis = Axis::logarithmic(self.range(), (frame.left, frame.right));
        self.draw_grid(canvas, frame, &axis)?;
        for (at, row) in self.rows.iter().enumerate() {
            let top = top + self.row_height() * at as f64;
            self.draw_row(canvas, row, top, &axis)?;
            self.draw_arrow(canvas, row.better, top, frame)?;
        }
        self.draw_apart(canvas, frame)
    }

    /// To the side of 1 that is better in a row.
    fn draw_arrow<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        better: Direction,
        top: f64,
        frame: Frame,
    ) -> Drawn<DB> {
        let y = top + self.row_height() / 2.0;
        match better {
            Direction::Higher => canvas.text("better →", (frame.right + 6.0, y), SMALL, Ink::Text, Anchor::Start),
            Direction::Lower => canvas.text("← better", (frame.left - 6.0, y), SMALL, Ink::Text, Anchor::End),
        }
    }

    fn draw_legend<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, top: f64) -> Drawn<DB> {
        legend(canvas, &self.series, Key::Mark, top)?;
        let y = top + 8.0 + legend_height(&self.series);
        let mut marks = self.rows.iter().flat_map(|row| row.marks.iter().flatten());
        let whiskers = marks.any(|mark| mark.interval.is_some());
        let mark = if whiskers { "mark and whisker: mean ratio, 95 % interval" } else { "mark: mean" };
        let mut parts = vec![mark.to_owned(), "faint dots: blocks".to_owned()];
        parts.extend(self.hollow.as_ref().map(|what| format!("hollow: {what}")));
        if self.rows.iter().any(|row| row.noise.is_some()) {
            parts.push("grey bar: noise floor (control)".to_owned());
        }
        let text = canvas.fit(&parts.join("  ·  "), SMALL, WIDTH - 2.0 * EDGE);
        canvas.text(&text, (EDGE, y), SMALL, Ink::Muted, Anchor::Start)
    }

    fn draw_grid<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, frame: Frame, axis: &Axis) -> Drawn<DB> {
        if let Some(margin) = self.margin {
            let edges = edges(margin);
            let (left, right) = (axis.px(edges.low), axis.px(edges.high));
            canvas.fill(Frame { left, right, ..frame }, Ink::Band, 1.0)?;
            let text = format!("margin ±{}", units::percent(margin));
            canvas.text(&text, (axis.px(1.0), frame.top - 11.0), SMALL, Ink::Muted, Anchor::Middle)?;
        }
        for tick in axis.ratio_ticks(44.0) {
            let x = axis.px(tick);
            canvas.line((x, frame.top), (x, frame.bottom), Ink::Grid, 1.0)?;
            let text = format!("{}×", tick_text(tick));
            canvas.text(&text, (x, frame.bottom + 13.0), LABEL, Ink::Text, Anchor::Middle)?;
        }
        canvas.line((axis.px(1.0), frame.top), (axis.px(1.0), frame.bottom), Ink::Text, 1.0)?;
        let long = format!("ratio to {} of each row's metric (log scale); arrows point to the better side", self.base);
        let short = format!("ratio to {}, log; arrows: better", self.base);
        let room = frame.width();
        let title = if canvas.width(&long, LABEL) <= room { long } else { canvas.fit(&short, LABEL, room) };
        let y = frame.bottom + 36.0;
        canvas.text(&title, ((frame.left + frame.right) / 2.0, y), LABEL, Ink::Text, Anchor::Middle)
    }

    fn draw_row<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, row: &AnswerRow, top: f64, axis: &Axis) -> Drawn<DB> {
        let height = self.row_height();
        let middle = top + height / 2.0;
        canvas.line((EDGE, top), (WIDTH - EDGE, top), Ink::Grid, 1.0)?;
        let label = canvas.fit(&row.label, STRONG, LABELS - 12.0);
        canvas.text(&label, (EDGE, middle - 16.0), STRONG, Ink::Text, Anchor::Start)?;
        let metric = canvas.fit(&row.metric, SMALL, LABELS - 12.0);
        canvas.text(&metric, (EDGE, middle + 1.0), SMALL, Ink::Muted, Anchor::Start)?;
        canvas.text(units::is_better(row.better), (EDGE, middle + 16.0), SMALL, Ink::Text, Anchor::Start)?;
        if let Some((low, high)) = row.noise {
            let bar =
                Frame { left: axis.px(low), right: axis.px(high), top: top + height - 7.0, bottom: top + height - 3.0 };
            canvas.fill(bar, Ink::Muted, 0.45)?;
        }
        let lanes = self.series.len() as f64;
        for (at, (series, mark)) in self.series.iter().zip(&row.marks).enumerate() {
            let y = middle + (at as f64 - (lanes - 1.0) / 2.0) * LANE;
            match mark {
                Some(mark) => draw_mark(canvas, mark, series.slot, y, axis)?,
                None => canvas.text("no ratio", (axis.px(1.0) + 8.0, y), SMALL, Ink::Muted, Anchor::Start)?,
            }
        }
        Ok(())
    }

    fn draw_apart<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, frame: Frame) -> Drawn<DB> {
        for (column, Column { heading, remark }) in self.apart.iter().enumerate() {
            let x = frame.right + ARROW + 18.0 + APART * column as f64;
            let lines = canvas.wrap(heading, STRONG, APART - 16.0);
            let lines = &lines[..lines.len().min(2)];
            for (line, text) in lines.iter().enumerate() {
                let y = frame.top - 27.0 - 16.0 * (lines.len() - 1 - line) as f64;
                canvas.text(text, (x, y), STRONG, Ink::Muted, Anchor::Start)?;
            }
            canvas.text(remark, (x, frame.top - 11.0), SMALL, Ink::Muted, Anchor::Start)?;
            for (at, row) in self.rows.iter().enumerate() {
                let y = frame.top + self.row_height() * (at as f64 + 0.5);
                let text = row.apart.get(column).map_or("–", String::as_str);
                canvas.text(text, (x, y), LABEL, Ink::Muted, Anchor::Start)?;
            }
        }
        Ok(())
    }

    pub(super) fn table(&self) -> Table {
        let mut head = vec!["workload".to_owned(), "metric".to_owned()];
        for series in &self.series {
            head.push(format!("{} ÷ {} [95 %]", series.label, self.base));
            if self.hollow.is_some() {
                head.push(format!("{}: paper", series.label));
            }
        }
        head.extend(self.apart.iter().map(|column| format!("{} ({})", column.heading, column.remark)));
        head.push("noise floor (control)".to_owned());
        let rows = self.rows.iter().map(|row| {
            let mut cells = vec![row.label.clone(), units::metric(&row.metric, row.better)];
            for mark in &row.marks {
                cells.push(mark.as_ref().map_or("–".to_owned(), |m| units::ratio_with(m.ratio, m.interval)));
                if self.hollow.is_some() {
                    cells.push(mark.as_ref().and_then(|m| m.paper).map_or("–".to_owned(), units::ratio));
                }
            }
            cells.extend(row.apart.iter().cloned());
            cells.push(row.noise.map_or("–".to_owned(), units::bounds));
            cells
        });
        Table { rows: rows.collect(), head }
    }
}

fn draw_mark<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    mark: &AnswerMark,
    slot: usize,
    y: f64,
    axis: &Axis,
) -> Drawn<DB> {
    let ink = Ink::Environment(slot);
    // First and larger: where paper and this run agree, its outline still shows behind the mark.
    if let Some(paper) = mark.paper {
        canvas.mark((axis.px(paper), y), Shape::of(slot), 8.0, ink, true)?;
    }
    for &block in mark.blocks.iter().step_by(super::every(mark.blocks.len())) {
        if axis.holds(block) {
            canvas.dot((axis.px(block), y), 3.0, ink, 0.35)?;
        } else {
            let (text, anchor) = if block < 1.0 { ("‹", Anchor::Start) } else { ("›", Anchor::End) };
            canvas.text(text, (axis.px(block), y), STRONG, ink, anchor)?;
        }
    }
    if let Some((low, high)) = mark.interval {
        canvas.line((axis.px(low), y), (axis.px(high), y), ink, 2.0)?;
        for end in [low, high].into_iter().filter(|&end| axis.holds(end)) {
            canvas.line((axis.px(end), y - 5.0), (axis.px(end), y + 5.0), ink, 2.0)?;
        }
    }
    canvas.mark((axis.px(mark.ratio), y), Shape::of(slot), 4.5, ink, false)
}
