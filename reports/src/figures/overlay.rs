//! Histograms laid over each other: where a distribution has a second mode, means and percentiles do not show it.

use bench_results::analysis::Distribution;
use bench_results::{Histogram, Unit};
use plotters::prelude::*;

use super::axis::{Axis, tick_text};
use super::canvas::{Anchor, Canvas, Drawn, Frame, Ink, LABEL, SMALL, STRONG};
use super::{EDGE, LEGEND_HEIGHT, Series, Table, WIDTH};
use crate::units::{Scale, human, percent};

/// Data of the figure.
#[derive(Debug, Clone)]
pub(crate) struct Overlay {
    /// What is laid over each other, in the order of each panel's shapes.
    pub(crate) series: Vec<Series>,
    /// One per workload, environment and direction.
    pub(crate) panels: Vec<OverlayPanel>,
}

/// Distributions on one pair of axes.
#[derive(Debug, Clone)]
pub(crate) struct OverlayPanel {
    /// Heading: `rand-read in container: reads`.
    pub(crate) heading: String,
    /// One per series.
    pub(crate) distributions: Vec<Distribution>,
}

/// Bars of a panel: each is so much longer in latency than the one before.
const STEP: f64 = 1.06;
const COLUMNS: usize = 2;
const PLOT_HEIGHT: f64 = 130.0;
const PANEL_HEIGHT: f64 = PLOT_HEIGHT + 66.0;
const AXIS_WIDTH: f64 = 48.0;

/// Share of all I/Os by bar, counted from the latency of 1 ns.
fn shares(histogram: &Histogram) -> Vec<(i32, f64)> {
    let total = histogram.count() as f64;
    let mut shares: Vec<(i32, f64)> = Vec::new();
    for &(latency_ns, count) in histogram.bins() {
        let bar = ((latency_ns.max(1) as f64).ln() / STEP.ln()).floor() as i32;
        let share = count as f64 / total;
        match shares.last_mut() {
            Some((last, sum)) if *last == bar => *sum += share,
            _ => shares.push((bar, share)),
        }
    }
    shares
}

impl OverlayPanel {
    /// From the fastest I/Os to all but the slowest 0.5 %.
    fn range(&self) -> (f64, f64) {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for distribution in &self.distributions {
            let histogram = &distribution.histogram;
            low = histogram.bins().first().map_or(low, |&(latency, _)| low.min(latency as f64));
            let end = distribution.percentile_ns(0.995).or(histogram.bins().last().map(|bin| bin.0 as f64));
            high = end.map_or(high, |end| high.max(end));
        }
        let low = if low.is_finite() { low.max(1.0) } else { 1.0 };
        (low / STEP, high.max(low * 2.0) * STEP)
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, frame: Frame, series: &[Series]) -> Drawn<DB> {
        let heading = canvas.fit(&self.heading, STRONG, frame.width() + AXIS_WIDTH);
        canvas.text(&heading, (frame.left - AXIS_WIDTH, frame.top - 16.0), STRONG, Ink::Text, Anchor::Start)?;
        let x = Axis::logarithmic(self.range(), (frame.left, frame.right));
        for tick in x.decade_ticks(58.0) {
            canvas.line((x.px(tick), frame.top), (x.px(tick), frame.bottom), Ink::Grid, 1.0)?;
            let scale = Scale::of(Unit::Ns, tick);
            let text = format!("{} {}", tick_text(scale.apply(tick)), scale.name);
            canvas.text(&text, (x.px(tick), frame.bottom + 13.0), LABEL, Ink::Text, Anchor::Middle)?;
        }
        let all: Vec<_> = self.distributions.iter().map(|one| shares(&one.histogram)).collect();
        let most = all.iter().flatten().map(|&(_, share)| share).fold(0.0, f64::max);
        let y = Axis::linear((0.0, most * 1.05), (frame.bottom, frame.top));
        canvas.text(&percent(most), (frame.left - 6.0, y.px(most)), SMALL, Ink::Muted, Anchor::End)?;
        canvas.text("0", (frame.left - 6.0, frame.bottom), SMALL, Ink::Muted, Anchor::End)?;
        for (at, (shares, series)) in all.iter().zip(series).enumerate() {
            let ink = Ink::Environment(series.slot);
            let mut outline = Vec::new();
            let mut after = None;
            for &(bar, share) in shares {
                let (from, to) = (STEP.powi(bar), STEP.powi(bar + 1));
                if !x.holds(from) || !x.holds(to) {
                    continue;
                }
                let (left, right, top) = (x.px(from), x.px(to), y.px(share));
                // The first is an area and those over it are lines, so that none hides another.
                if at == 0 {
                    canvas.fill(Frame { left, top, right, bottom: frame.bottom }, ink, 0.35)?;
                }
                if let Some(end) = after.filter(|&end| end < left - 0.5) {
                    outline.extend([(end, frame.bottom), (left, frame.bottom)]);
                }
                outline.extend([(left, top), (right, top)]);
                after = Some(right);
            }
            if outline.len() > 1 {
                canvas.path(&outline, ink, if at == 0 { 1.0 } else { 2.0 })?;
            }
        }
        canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), Ink::Text, 1.0)
    }
}

impl Overlay {
    pub(super) fn height(&self) -> f64 {
        LEGEND_HEIGHT + PANEL_HEIGHT * self.panels.len().div_ceil(COLUMNS) as f64 + 14.0
    }

    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, top: f64) -> Drawn<DB> {
        self.draw_legend(canvas, top)?;
        let gap = 30.0;
        let width = (WIDTH - 2.0 * EDGE - gap * (COLUMNS as f64 - 1.0)) / COLUMNS as f64;
        for (at, panel) in self.panels.iter().enumerate() {
            let left = EDGE + (width + gap) * (at % COLUMNS) as f64;
            let top = top + LEGEND_HEIGHT + PANEL_HEIGHT * (at / COLUMNS) as f64 + 34.0;
            let frame = Frame { left: left + AXIS_WIDTH, right: left + width - 8.0, top, bottom: top + PLOT_HEIGHT };
            panel.draw(canvas, frame, &self.series)?;
        }
        Ok(())
    }

    /// As the panels draw them: the first as an area, those over it as lines.
    fn draw_legend<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, top: f64) -> Drawn<DB> {
        let (mut x, y) = (EDGE, top + 8.0);
        for (at, series) in self.series.iter().enumerate() {
            let ink = Ink::Environment(series.slot);
            if at == 0 {
                canvas.fill(Frame { left: x, top: y - 6.0, right: x + 24.0, bottom: y + 6.0 }, ink, 0.35)?;
                canvas.line((x, y - 6.0), (x + 24.0, y - 6.0), ink, 1.0)?;
            } else {
                canvas.line((x, y), (x + 24.0, y), ink, 2.0)?;
            }
            canvas.text(&series.label, (x + 30.0, y), LABEL, Ink::Text, Anchor::Start)?;
            x += 52.0 + canvas.width(&series.label, LABEL);
        }
        Ok(())
    }

    pub(super) fn table(&self) -> Table {
        let head = ["", "side", "I/Os", "p50", "p90", "p99", "p99.9"].map(str::to_owned).into();
        let mut rows = Vec::new();
        for panel in &self.panels {
            for (series, distribution) in self.series.iter().zip(&panel.distributions) {
                let count = distribution.histogram.count().to_string();
                let mut cells = vec![panel.heading.clone(), series.label.clone(), count];
                let shown = |q| distribution.percentile_ns(q).map_or("–".to_owned(), |ns| human(ns, Unit::Ns));
                cells.extend([0.5, 0.9, 0.99, 0.999].map(shown));
                rows.push(cells);
            }
        }
        Table { head, rows }
    }
}
