//! Bars from zero, one group per workload, as in the paper's figures 5 and 6.

use std::collections::BTreeMap;

use bench_results::Unit;
use plotters::prelude::*;

use super::axis::{Axis, from_zero, tick_text};
use super::canvas::{Anchor, Canvas, Drawn, Frame, Ink, LABEL, SMALL, STRONG};
use super::{EDGE, Key, Series, Table, WIDTH, legend, legend_height, note};
use crate::units::{self, Scale};

/// Data of the figure.
#[derive(Debug, Clone)]
pub(crate) struct Bars {
    /// The environments, in the order of each group's bars.
    pub(crate) series: Vec<Series>,
    /// Side by side, each with an axis of its own.
    pub(crate) panels: Vec<BarPanel>,
}

/// Bars on one axis.
#[derive(Debug, Clone)]
pub(crate) struct BarPanel {
    /// Heading: `this run`, `the paper (2014)`.
    pub(crate) heading: String,
    /// What is special about it; may be empty.
    pub(crate) remark: String,
    /// What is measured: `bandwidth`.
    pub(crate) quantity: String,
    /// Unit of all values.
    pub(crate) unit: Unit,
    /// Environments of this panel where they are not the figure's own.
    pub(crate) series: Option<Vec<Series>>,
    /// One per workload.
    pub(crate) groups: Vec<BarGroup>,
}

/// One workload.
#[derive(Debug, Clone)]
pub(crate) struct BarGroup {
    /// Name of the workload.
    pub(crate) label: String,
    /// One per environment; absent where nothing was measured.
    pub(crate) bars: Vec<Option<Bar>>,
}

/// One environment in one workload.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// Mean over blocks.
    pub(crate) value: f64,
    /// The paired interval of the ratio, applied to the reference's mean.
    pub(crate) whisker: Option<(f64, f64)>,
    /// Block and value.
    pub(crate) dots: Vec<(u32, f64)>,
}

impl Bar {
    fn top(&self) -> f64 {
        let dots = self.dots.iter().map(|&(_, value)| value);
        // The whisker of a few noisy blocks must not flatten all bars.
        let whisker = self.whisker.map(|(_, high)| high.min(self.value * 2.0));
        dots.chain(whisker).fold(self.value, f64::max)
    }
}

const PLOT_HEIGHT: f64 = 260.0;
const AXIS_WIDTH: f64 = 66.0;
/// For a panel's heading and remark.
const ABOVE_PLOT: f64 = 60.0;

impl BarPanel {
    fn series<'a>(&'a self, figure: &'a Bars) -> &'a [Series] {
        self.series.as_deref().unwrap_or(&figure.series)
    }

    /// The largest value that the axis has to hold: an emulated guest many times beyond all others is cut.
    fn largest(&self, figure: &Bars) -> f64 {
        let top = |emulated: bool| {
            let bars = self.groups.iter().flat_map(|group| group.bars.iter().zip(self.series(figure)));
            bars.filter(|(_, series)| series.emulated == emulated)
                .filter_map(|(bar, _)| bar.as_ref().map(Bar::top))
                .fold(0.0, f64::max)
        };
        let (real, emulated) = (top(false), top(true));
        if real > 0.0 && emulated > 3.0 * real { real * 1.2 } else { real.max(emulated) }
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, figure: &Bars, frame: Frame) -> Drawn<DB> {
        let largest = self.largest(figure);
        let scale = Scale::of(self.unit, largest);
        let (end, ticks) = from_zero(scale.apply(largest) * 1.06, 5.0);
        let axis = Axis::linear((0.0, end), (frame.bottom, frame.top));
        let heading = canvas.fit(&self.heading, STRONG, frame.width() + AXIS_WIDTH);
        canvas.text(&heading, (frame.left - AXIS_WIDTH, frame.top - 42.0), STRONG, Ink::Text, Anchor::Start)?;
        let remark = canvas.fit(&self.remark, SMALL, frame.width() + AXIS_WIDTH);
        canvas.text(&remark, (frame.left - AXIS_WIDTH, frame.top - 26.0), SMALL, Ink::Muted, Anchor::Start)?;
        for tick in ticks {
            let y = axis.px(tick);
            canvas.line((frame.left, y), (frame.right, y), Ink::Grid, 1.0)?;
            canvas.text(&tick_text(tick), (frame.left - 7.0, y), LABEL, Ink::Text, Anchor::End)?;
        }
        let named = scale.name.ends_with(&self.quantity);
        let title = if named { scale.name.to_owned() } else { format!("{}, {}", self.quantity, scale.name) };
        let x = frame.left - AXIS_WIDTH + 8.0;
        canvas.text_upwards(&title, (x, (frame.top + frame.bottom) / 2.0), LABEL, Ink::Text)?;
        let width = frame.width() / self.groups.len().max(1) as f64;
        for (at, group) in self.groups.iter().enumerate() {
            let left = frame.left + width * at as f64;
            let cell = Frame { left: left + width * 0.08, right: left + width * 0.92, ..frame };
            self.draw_group(canvas, figure, group, cell, (&axis, scale))?;
            let lines = canvas.wrap(&group.label, LABEL, width - 4.0);
            for (line, text) in lines.iter().take(2).enumerate() {
                let at = (left + width / 2.0, frame.bottom + 14.0 + 14.0 * line as f64);
                canvas.text(text, at, LABEL, Ink::Text, Anchor::Middle)?;
            }
        }
        canvas.line((frame.left, frame.bottom), (frame.right, frame.bottom), Ink::Text, 1.0)
    }

    fn draw_group<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        figure: &Bars,
        group: &BarGroup,
        cell: Frame,
        (axis, scale): (&Axis, Scale),
    ) -> Drawn<DB> {
        let series = self.series(figure);
        let width = (cell.width() / series.len().max(1) as f64).min(90.0);
        let first = (cell.left + cell.right - width * series.len() as f64) / 2.0;
        let middle = |at: usize| first + width * (at as f64 + 0.5);
        let px = |value: f64| axis.px(scale.apply(value));
        for (at, (bar, series)) in group.bars.iter().zip(series).enumerate() {
            let Some(bar) = bar else { continue };
            let half = (width * 0.42).max(1.0);
            let frame =
                Frame { left: middle(at) - half, right: middle(at) + half, top: px(bar.value), bottom: axis.px(0.0) };
            canvas.bar(frame, series.slot, series.emulated)?;
            if !axis.holds(scale.apply(bar.value)) {
                draw_cut(canvas, frame)?;
            }
        }
        let within = |bar: &&Bar| axis.holds(scale.apply(bar.value));
        let shown: Vec<_> = group.bars.iter().map(|bar| bar.as_ref().filter(within)).collect();
        let joined: Vec<_> = shown.iter().zip(series).map(|(bar, s)| bar.filter(|_| !s.emulated)).collect();
        draw_blocks(canvas, &joined, &middle, &px)?;
        for (at, bar) in group.bars.iter().enumerate() {
            let Some(bar) = bar else { continue };
            let x = middle(at);
            if let Some((low, high)) = bar.whisker.filter(|_| shown[at].is_some()) {
                canvas.line((x, px(low)), (x, px(high)), Ink::Text, 2.0)?;
                for end in [low, high] {
                    canvas.line((x - 5.0, px(end)), (x + 5.0, px(end)), Ink::Text, 2.0)?;
                }
            }
            let text = scale.number(bar.value);
            let half = canvas.width(&text, SMALL) / 2.0;
            if half * 2.0 <= width {
                let y = px(bar.top()) - 9.0;
                // Lines between dots pass here: the number has to stay readable.
                canvas.fill(
                    Frame { left: x - half, right: x + half, top: y - 6.0, bottom: y + 6.0 },
                    Ink::Paper,
                    0.8,
                )?;
                canvas.text(&text, (x, y), SMALL, Ink::Text, Anchor::Middle)?;
            }
        }
        Ok(())
    }
}

/// The gap that says: this bar goes on beyond the axis.
fn draw_cut<DB: DrawingBackend>(canvas: &Canvas<DB>, bar: Frame) -> Drawn<DB> {
    let y = bar.top + 22.0;
    canvas.fill(
        Frame { left: bar.left - 2.0, right: bar.right + 2.0, top: y - 3.0, bottom: y + 3.0 },
        Ink::Paper,
        1.0,
    )?;
    for y in [y - 3.0, y + 3.0] {
        canvas.line((bar.left - 4.0, y + 3.0), (bar.right + 4.0, y - 3.0), Ink::Text, 1.0)?;
    }
    Ok(())
}

/// Dots of one block are joined: whoever compares sees pairs.
fn draw_blocks<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    bars: &[Option<&Bar>],
    middle: &impl Fn(usize) -> f64,
    px: &impl Fn(f64) -> f64,
) -> Drawn<DB> {
    let mut blocks: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for (at, bar) in bars.iter().enumerate() {
        let dots = bar.iter().flat_map(|bar| &bar.dots);
        dots.for_each(|&(block, value)| blocks.entry(block).or_default().push((middle(at), px(value))));
    }
    let every = super::every(blocks.len());
    for points in blocks.into_values().step_by(every) {
        if points.len() > 1 {
            canvas.faint_path(&points, Ink::Text)?;
        }
        for point in points {
            canvas.dot(point, 2.0, Ink::Text, 0.6)?;
        }
    }
    Ok(())
}

impl Bars {
    /// True when one panel is as wide as the figure: the others then stand below it.
    fn stacked(&self) -> bool {
        self.panels.iter().map(|panel| panel.groups.len() * panel.series(self).len()).sum::<usize>() > 24
    }

    fn rows(&self) -> usize {
        if self.stacked() { self.panels.len() } else { 1 }
    }

    fn cut(&self) -> bool {
        let beyond = |panel: &BarPanel| {
            let largest = panel.largest(self);
            panel.groups.iter().flat_map(|group| group.bars.iter().flatten()).any(|bar| bar.value > largest * 1.1)
        };
        self.panels.iter().any(beyond)
    }

    pub(super) fn height(&self) -> f64 {
        let cut = if self.cut() { 18.0 } else { 0.0 };
        legend_height(&self.series) + cut + (PLOT_HEIGHT + ABOVE_PLOT + 46.0) * self.rows() as f64
    }

    pub(super) fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, top: f64) -> Drawn<DB> {
        legend(canvas, &self.series, Key::Bar, top)?;
        let first = top + legend_height(&self.series) + ABOVE_PLOT;
        let usable = WIDTH - 2.0 * EDGE;
        let weights: Vec<f64> =
            self.panels.iter().map(|panel| ((panel.groups.len() * panel.series(self).len()) as f64).max(4.0)).collect();
        let gaps = 24.0 * (self.panels.len().max(1) - 1) as f64;
        let mut left = EDGE;
        for (at, (panel, weight)) in self.panels.iter().zip(&weights).enumerate() {
            let (top, width) = if self.stacked() {
                (first + (PLOT_HEIGHT + ABOVE_PLOT + 46.0) * at as f64, usable)
            } else {
                (first, (usable - gaps) * weight / weights.iter().sum::<f64>())
            };
            let frame = Frame { left: left + AXIS_WIDTH, right: left + width, top, bottom: top + PLOT_HEIGHT };
            panel.draw(canvas, self, frame)?;
            if !self.stacked() {
                left += width + 24.0;
            }
        }
        if self.cut() {
            let y = top + self.height() - 14.0;
            note(canvas, "a broken bar goes on beyond the axis: an emulated guest says nothing about KVM", y, 1)?;
        }
        Ok(())
    }

    pub(super) fn table(&self) -> Table {
        let head = ["", "workload", "environment", "mean over blocks", "interval (paired)", "blocks"];
        let mut table = Table { head: head.map(str::to_owned).into(), ..Table::default() };
        for panel in &self.panels {
            for group in &panel.groups {
                for (bar, series) in group.bars.iter().zip(panel.series(self)) {
                    let Some(bar) = bar else { continue };
                    let whisker = bar.whisker.map(|(low, high)| {
                        format!("{} to {}", units::human(low, panel.unit), units::human(high, panel.unit))
                    });
                    table.rows.push(vec![
                        panel.heading.clone(),
                        group.label.clone(),
                        series.label.clone(),
                        units::human(bar.value, panel.unit),
                        whisker.unwrap_or_else(|| "–".to_owned()),
                        if bar.dots.is_empty() { "–".to_owned() } else { bar.dots.len().to_string() },
                    ]);
                }
            }
        }
        table
    }
}
