//! From the median to the tail: percentiles of every workload on one logarithmic axis.

use bench_results::Unit;
use plotters::prelude::*;

use super::axis::{Axis, tick_text};
use super::canvas::{Anchor, Canvas, Drawn, Frame, Ink, LABEL, SMALL, STRONG, Shape};
use super::{EDGE, Key, LEGEND_HEIGHT, Series, Table, WIDTH, legend, legend_height};
use crate::units::{Scale, human};

/// Data of the figure.
#[derive(Debug, Clone)]
pub(crate) struct Spans {
    /// The environments, in the order of each row's spans.
    pub(crate) series: Vec<Series>,
    /// One per workload and direction.
    pub(crate) rows: Vec<SpanRow>,
}

/// One workload, reads or writes.
#[derive(Debug, Clone)]
pub(crate) struct SpanRow {
    /// Name of the workload.
    pub(crate) label: String,
    /// `read` or `write`.
    pub(crate) direction: String,
    /// One per environment; absent where nothing was measured.
    pub(crate) spans: Vec<Option<Span>>,
}

/// Percentiles in ns, out of the merged histogram; those that the number of I/Os cannot bear are absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) p50: f64,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
}

impl Span {
    fn last(&self) -> f64 {
        self.p999.or(self.p99).unwrap_or(self.p50)
    }
}

const LABELS: f64 = 170.0;
const LANE: f64 = 16.0;

impl Spans {
    fn row_height(&self) -> f64 {
        (self.series.len() as f64 * LANE + 14.0).max(44.0)
    }

    fn plot_height(&self) -> f64 {
        self.row_height() * self.rows.len() as f64
    }

    pub(super) fn height(&self) -> f64 {
        legend_height(&self.series) + LEGEND_HEIGHT + 10.0 + self.plot_height() + 52.0
    }

    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, top: f64) -> Drawn<DB> {
        legend(canvas, &self.series, Key::Mark, top)?;
        let reading = "mark: median  ·  short bar: p99  ·  end of the line: p99.9 (where there were enough)";
        canvas.text(reading, (EDGE, top + 8.0 + legend_height(&self.series)), SMALL, Ink::Muted, Anchor::Start)?;
        let top = top + legend_height(&self.series) + LEGEND_HEIGHT + 10.0;
        let frame = Frame { left: EDGE + LABELS, top, right: WIDTH - EDGE - 14.0, bottom: top + self.plot_height() };
        let all = || self.rows.iter().flat_map(|row| row.spans.iter().flatten());
        let low = all().map(|span| span.p50).fold(f64::INFINITY, f64::min).clamp(1.0, 1e12);
        let high = all().map(Span::last).fold(low * 2.0, f64::max);
        let axis = Axis::logarithmic((low / 1.2, high * 1.2), (frame.left, frame.right));
        for tick in axis.decade_ticks(52.0) {
            canvas.line((axis.px(tick), frame.top), (axis.px(tick), frame.bottom), Ink::Grid, 1.0)?;
            let scale = Scale::of(Unit::Ns, tick);
            let text = format!("{} {}", tick_text(scale.apply(tick)), scale.name);
            canvas.text(&text, (axis.px(tick), frame.bottom + 13.0), LABEL, Ink::Text, Anchor::Middle)?;
        }
        let at = ((frame.left + frame.right) / 2.0, frame.bottom + 34.0);
        canvas.text("latency (log scale), further left is better", at, LABEL, Ink::Text, Anchor::Middle)?;
        for (at, row) in self.rows.iter().enumerate() {
            self.draw_row(canvas, row, top + self.row_height() * at as f64, &axis)?;
        }
        canvas.line((EDGE, frame.bottom), (WIDTH - EDGE, frame.bottom), Ink::Grid, 1.0)
    }

    fn draw_row<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, row: &SpanRow, top: f64, axis: &Axis) -> Drawn<DB> {
        let middle = top + self.row_height() / 2.0;
        canvas.line((EDGE, top), (WIDTH - EDGE, top), Ink::Grid, 1.0)?;
        let label = canvas.fit(&row.label, STRONG, LABELS - 12.0);
        canvas.text(&label, (EDGE, middle - 8.0), STRONG, Ink::Text, Anchor::Start)?;
        canvas.text(&row.direction, (EDGE, middle + 9.0), SMALL, Ink::Muted, Anchor::Start)?;
        let lanes = self.series.len() as f64;
        for (at, (series, span)) in self.series.iter().zip(&row.spans).enumerate() {
            let Some(span) = span else { continue };
            let y = middle + (at as f64 - (lanes - 1.0) / 2.0) * LANE;
            let ink = Ink::Environment(series.slot);
            canvas.line((axis.px(span.p50), y), (axis.px(span.last()), y), ink, 2.0)?;
            for end in [span.p99, span.p999].into_iter().flatten() {
                canvas.line((axis.px(end), y - 5.0), (axis.px(end), y + 5.0), ink, 2.0)?;
            }
            canvas.mark((axis.px(span.p50), y), Shape::of(series.slot), 4.5, ink, series.emulated)?;
        }
        Ok(())
    }

    pub(super) fn table(&self) -> Table {
        let head = ["workload", "direction", "environment", "p50", "p99", "p99.9"].map(str::to_owned).into();
        let shown = |ns: Option<f64>| ns.map_or("–".to_owned(), |ns| human(ns, Unit::Ns));
        let mut rows = Vec::new();
        for row in &self.rows {
            for (series, span) in self.series.iter().zip(&row.spans) {
                let Some(span) = span else { continue };
                let values = [Some(span.p50), span.p99, span.p999].map(shown);
                let mut cells = vec![row.label.clone(), row.direction.clone(), series.label.clone()];
                cells.extend(values);
                rows.push(cells);
            }
        }
        Table { head, rows }
    }
}
