//! Cumulative latency distributions: linear as in the paper's figure 7, and by the tail.

use bench_results::Unit;
use plotters::prelude::*;

use super::axis::{Axis, from_zero, tick_text};
use super::canvas::{Anchor, Canvas, Drawn, Frame, Ink, LABEL, SMALL, STRONG, Shape};
use super::{EDGE, Key, Series, Table, WIDTH, legend, legend_height, note};
use crate::units::{Scale, human};

/// Data of the figure.
#[derive(Debug, Clone)]
pub(crate) struct Curves {
    /// The environments, in the order of the first panel's curves.
    pub(crate) series: Vec<Series>,
    /// Side by side, each with axes of its own.
    pub(crate) panels: Vec<CurvePanel>,
    /// False: latency linear, percent linear. True: latency logarithmic, percent by the number of nines.
    pub(crate) tail: bool,
}

/// Curves on one pair of axes.
#[derive(Debug, Clone)]
pub(crate) struct CurvePanel {
    /// Heading: `this run`.
    pub(crate) heading: String,
    /// What is special about it; may be empty.
    pub(crate) remark: String,
    /// One per environment that has one.
    pub(crate) curves: Vec<Curve>,
}

/// The distribution of one environment.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// Whose.
    pub(crate) series: Series,
    /// Latency in ns and the fraction of I/Os that took at most so long, ascending, straight from point to point; only what the count
    /// can bear.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Curve {
    /// The latency that the fraction `q` does not exceed.
    fn latency(&self, q: f64) -> Option<f64> {
        let at = self.points.iter().position(|&(_, fraction)| fraction >= q - 1e-9)?;
        let (latency, fraction) = self.points[at];
        let Some(&(before, below)) = at.checked_sub(1).and_then(|at| self.points.get(at)) else { return Some(latency) };
        let share = ((q - below) / (fraction - below)).min(1.0);
        Some(if share.is_finite() { before + share * (latency - before) } else { latency })
    }
}

const PLOT_HEIGHT: f64 = 300.0;
const AXIS_WIDTH: f64 = 58.0;
/// For a panel's heading and remark.
const ABOVE_PLOT: f64 = 56.0;
const SHOWN: [(f64, &str); 6] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99"), (0.99999, "p99.999")];

/// Number of nines: 0.99 is 2.
fn nines(fraction: f64) -> f64 {
    -(1.0 - fraction.clamp(0.0, 1.0 - 1e-7)).log10()
}

impl CurvePanel {
    /// Linear: to where the slowest environment has 99.5 %, emulated guests apart.
    fn linear_end(&self) -> f64 {
        let end = |emulated: bool| {
            let curves = self.curves.iter().filter(|curve| curve.series.emulated == emulated);
            curves.filter_map(|c| c.latency(0.995).or(c.points.last().map(|p| p.0))).fold(0.0, f64::max)
        };
        let (real, emulated) = (end(false), end(true));
        if real > 0.0 && emulated > 4.0 * real { real * 1.25 } else { real.max(emulated) * 1.05 }
    }

    /// Emulated guests that the linear axis does not show.
    fn beyond(&self) -> impl Iterator<Item = &Curve> {
        let end = self.linear_end();
        self.curves.iter().filter(move |curve| curve.latency(0.5).is_some_and(|median| median > end))
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, frame: Frame, tail: bool) -> Drawn<DB> {
        let heading = canvas.fit(&self.heading, STRONG, frame.width() + AXIS_WIDTH);
        canvas.text(&heading, (frame.left - AXIS_WIDTH, frame.top - 36.0), STRONG, Ink::Text, Anchor::Start)?;
        canvas.text(&self.remark, (frame.left - AXIS_WIDTH, frame.top - 19.0), SMALL, Ink::Muted, Anchor::Start)?;
        let (x, y) = if tail { self.draw_tail_axes(canvas, frame)? } else { self.draw_linear_axes(canvas, frame)? };
        for curve in &self.curves {
            self.draw_curve(canvas, curve, (&x, &y), tail)?;
        }
        canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), Ink::Text, 1.0)?;
        canvas.line((frame.left, frame.top), (frame.left, frame.bottom), Ink::Text, 1.0)
    }

    fn draw_linear_axes<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: Frame,
    ) -> Result<(Axis, Axis), DrawingAreaErrorKind<DB::ErrorType>> {
        let end = self.linear_end();
        let scale = Scale::of(Unit::Ns, end);
        let (_, ticks) = from_zero(scale.apply(end), 5.0);
        let x = Axis::linear((0.0, scale.apply(end)), (frame.left, frame.right));
        for tick in ticks.into_iter().filter(|&tick| x.holds(tick)) {
            canvas.line((x.px(tick), frame.top), (x.px(tick), frame.bottom), Ink::Grid, 1.0)?;
            canvas.text(&tick_text(tick), (x.px(tick), frame.bottom + 13.0), LABEL, Ink::Text, Anchor::Middle)?;
        }
        let y = Axis::linear((0.0, 1.0), (frame.bottom, frame.top));
        for percent in [0, 25, 50, 75, 100] {
            draw_level(canvas, frame, y.px(f64::from(percent) / 100.0), &percent.to_string())?;
        }
        draw_titles(canvas, frame, &format!("latency, {}", scale.name), "no slower, %")?;
        // In ns, as the points are.
        Ok((Axis::linear((0.0, end), (frame.left, frame.right)), y))
    }

    fn draw_tail_axes<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        frame: Frame,
    ) -> Result<(Axis, Axis), DrawingAreaErrorKind<DB::ErrorType>> {
        let points = || self.curves.iter().flat_map(|curve| curve.points.iter());
        let low = points().map(|p| p.0).fold(f64::INFINITY, f64::min).clamp(1.0, 1e12);
        let high = points().map(|p| p.0).fold(low * 2.0, f64::max);
        let x = Axis::logarithmic((low / 1.1, high * 1.1), (frame.left, frame.right));
        for tick in x.decade_ticks(52.0) {
            canvas.line((x.px(tick), frame.top), (x.px(tick), frame.bottom), Ink::Grid, 1.0)?;
            let scale = Scale::of(Unit::Ns, tick);
            let text = format!("{} {}", tick_text(scale.apply(tick)), scale.name);
            canvas.text(&text, (x.px(tick), frame.bottom + 13.0), LABEL, Ink::Text, Anchor::Middle)?;
        }
        let most = points().map(|p| nines(p.1)).fold(1.0, f64::max).ceil();
        let y = Axis::linear((0.0, most), (frame.bottom, frame.top));
        for level in 0..=most as usize {
            let percent = 100.0 * (1.0 - 10f64.powi(-(level as i32)));
            draw_level(canvas, frame, y.px(level as f64), &tick_text(percent))?;
        }
        draw_titles(canvas, frame, "latency (log scale)", "no slower, %")?;
        Ok((x, y))
    }

    fn draw_curve<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        curve: &Curve,
        (x, y): (&Axis, &Axis),
        tail: bool,
    ) -> Drawn<DB> {
        let ink = Ink::Environment(curve.series.slot);
        let level = |fraction: f64| if tail { nines(fraction) } else { fraction };
        let mut line: Vec<(f64, f64)> = Vec::new();
        let mut before = 0.0;
        for &(latency, fraction) in &curve.points {
            let at = (x.px(latency), y.px(level(fraction)));
            if !x.holds(latency) {
                line.push((at.0, y.px(level(before))));
                break;
            }
            // Steps that are finer than a pixel are nothing but bytes in the file.
            let visible = line.last().is_none_or(|&(px, py)| at.0 - px >= 1.0 || (at.1 - py).abs() >= 1.0);
            if visible {
                line.push(at);
            }
            before = fraction;
        }
        canvas.path(&line, ink, 2.0)?;
        let quantiles: &[f64] = if tail { &[0.5, 0.9, 0.99, 0.999, 0.9999] } else { &[0.1, 0.3, 0.5, 0.7, 0.9] };
        for &quantile in quantiles {
            if let Some(latency) = curve.latency(quantile).filter(|&latency| x.holds(latency)) {
                let at = (x.px(latency), y.px(level(quantile)));
                canvas.mark(at, Shape::of(curve.series.slot), 4.0, ink, curve.series.emulated)?;
            }
        }
        Ok(())
    }
}

fn draw_level<DB: DrawingBackend>(canvas: &Canvas<DB>, frame: Frame, y: f64, text: &str) -> Drawn<DB> {
    canvas.line((frame.left, y), (frame.right, y), Ink::Grid, 1.0)?;
    canvas.text(text, (frame.left - 7.0, y), LABEL, Ink::Text, Anchor::End)
}

fn draw_titles<DB: DrawingBackend>(canvas: &Canvas<DB>, frame: Frame, x: &str, y: &str) -> Drawn<DB> {
    let at = ((frame.left + frame.right) / 2.0, frame.bottom + 34.0);
    canvas.text(x, at, LABEL, Ink::Text, Anchor::Middle)?;
    let at = (frame.left - AXIS_WIDTH + 6.0, (frame.top + frame.bottom) / 2.0);
    canvas.text_upwards(y, at, LABEL, Ink::Text)
}

impl Curves {
    fn note(&self) -> Option<String> {
        let beyond = self.panels.iter().filter(|_| !self.tail).flat_map(CurvePanel::beyond);
        let text = |curve: &Curve| {
            let median = curve.latency(0.5).map_or("–".to_owned(), |median| human(median, Unit::Ns));
            format!("{} is beyond the axis: median {median}", curve.series.label)
        };
        let texts: Vec<String> = beyond.map(text).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    pub(super) fn height(&self) -> f64 {
        legend_height(&self.series) + ABOVE_PLOT + PLOT_HEIGHT + 50.0 + if self.note().is_some() { 20.0 } else { 0.0 }
    }

    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, top: f64) -> Drawn<DB> {
        legend(canvas, &self.series, Key::Line, top)?;
        let gap = 30.0;
        let panels = self.panels.len().max(1) as f64;
        let width = (WIDTH - 2.0 * EDGE - gap * (panels - 1.0)) / panels;
        let top_of_plot = top + legend_height(&self.series) + ABOVE_PLOT;
        for (at, panel) in self.panels.iter().enumerate() {
            let left = EDGE + (width + gap) * at as f64;
            let frame = Frame {
                left: left + AXIS_WIDTH + if self.tail { 10.0 } else { 0.0 },
                right: left + width - 10.0,
                top: top_of_plot,
                bottom: top_of_plot + PLOT_HEIGHT,
            };
            panel.draw(canvas, frame, self.tail)?;
        }
        match self.note() {
            Some(text) => note(canvas, &text, top_of_plot + PLOT_HEIGHT + 54.0, 1),
            None => Ok(()),
        }
    }

    pub(super) fn table(&self) -> Table {
        let mut head = vec![String::new(), "environment".to_owned()];
        head.extend(SHOWN.iter().map(|&(_, name)| name.to_owned()));
        let rows = self.panels.iter().flat_map(|panel| panel.curves.iter().map(move |curve| (panel, curve)));
        let cells = |(panel, curve): (&CurvePanel, &Curve)| {
            let mut cells = vec![panel.heading.clone(), curve.series.label.clone()];
            let shown = |&(q, _): &(f64, &str)| curve.latency(q).map_or("–".to_owned(), |ns| human(ns, Unit::Ns));
            cells.extend(SHOWN.iter().map(shown));
            cells
        };
        Table { rows: rows.map(cells).collect(), head }
    }
}
