//! What every figure is drawn with: shapes and text in logical pixels, at any scale, on any plotters backend.
//!
//! Figures map their values to pixels themselves ([`Axis`]): plotters' own charts know neither categories with
//! hatched bars and paired dots, nor an axis that leaves an outlier at its edge, nor a second scale.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontFamily, register_font};

use super::FigureError;

/// Result of drawing on the backend `DB`.
pub(crate) type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// A colour by its role; the page replaces roles by CSS variables, so that figures follow light and dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Text and axes.
    Text,
    /// Secondary text.
    Muted,
    /// Grid lines.
    Grid,
    /// The band of the margin.
    Band,
    /// The background.
    Paper,
    /// An environment, by its place in [`PALETTE`].
    Environment(usize),
}

/// Colours of environments: Okabe and Ito's, told apart by colour-blind readers; with their CSS variables.
const PALETTE: [(RGBColor, &str); 6] = [
    (RGBColor(0, 114, 178), "--environment-0"),
    (RGBColor(230, 159, 0), "--environment-1"),
    (RGBColor(0, 158, 115), "--environment-2"),
    (RGBColor(204, 121, 167), "--environment-3"),
    (RGBColor(86, 180, 233), "--environment-4"),
    (RGBColor(213, 94, 0), "--environment-5"),
];

impl Ink {
    const OTHERS: [Ink; 5] = [Ink::Text, Ink::Muted, Ink::Grid, Ink::Band, Ink::Paper];

    fn named(self) -> (RGBColor, &'static str) {
        match self {
            Ink::Text => (RGBColor(27, 31, 36), "--ink"),
            Ink::Muted => (RGBColor(87, 96, 106), "--muted"),
            Ink::Grid => (RGBColor(216, 222, 228), "--grid"),
            Ink::Band => (RGBColor(232, 238, 244), "--band"),
            Ink::Paper => (RGBColor(255, 255, 255), "--paper"),
            Ink::Environment(slot) => PALETTE[slot % PALETTE.len()],
        }
    }

    fn colour(self) -> RGBColor {
        self.named().0
    }

    /// Replace all colours of an SVG by the CSS variables of their roles.
    pub(crate) fn to_variables(svg: &str) -> String {
        let inks = Ink::OTHERS.into_iter().chain((0..PALETTE.len()).map(Ink::Environment));
        inks.fold(svg.to_owned(), |svg, ink| {
            let (RGBColor(r, g, b), variable) = ink.named();
            svg.replace(&format!("\"#{r:02X}{g:02X}{b:02X}\""), &format!("\"var({variable})\""))
        })
    }
}

/// Where the given point is of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// At its left end, half its height.
    Start,
    /// At its middle.
    Middle,
    /// At its right end, half its height.
    End,
}

/// Size and weight of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Type {
    px: f64,
    bold: bool,
}

/// Title of a figure.
pub(crate) const TITLE: Type = Type { px: 16.0, bold: true };
/// Heading of a panel, label of a row.
pub(crate) const STRONG: Type = Type { px: 13.0, bold: true };
/// Labels of axes and ticks.
pub(crate) const LABEL: Type = Type { px: 12.0, bold: false };
/// Values at marks, notes.
pub(crate) const SMALL: Type = Type { px: 11.0, bold: false };

/// Shape that tells environments apart without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

impl Shape {
    /// The shape of an environment's slot.
    pub(crate) fn of(slot: usize) -> Shape {
        [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond][slot % 4]
    }
}

/// A rectangle in logical pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Frame {
    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }
}

/// A drawing surface in logical pixels.
pub(crate) struct Canvas<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    scale: f64,
    drop: f64,
}

impl<'a, DB: DrawingBackend> Canvas<'a, DB> {
    /// Draw on `area`, each logical pixel as `scale` of its pixels. Backends differ in where they put a text that is to
    /// be centred: `drop` is how far it has to go down, in parts of the font size.
    pub(crate) fn new(area: &'a DrawingArea<DB, Shift>, scale: f64, drop: f64) -> Canvas<'a, DB> {
        Canvas { area, scale, drop }
    }

    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        ((x * self.scale).round() as i32, (y * self.scale).round() as i32)
    }

    fn stroke(&self, ink: Ink, width: f64) -> ShapeStyle {
        ink.colour().stroke_width((width * self.scale).round().max(1.0) as u32)
    }

    /// Fill everything with the background.
    pub(crate) fn clear(&self) -> Drawn<DB> {
        self.area.fill(&Ink::Paper.colour())
    }

    /// A filled rectangle.
    pub(crate) fn fill(&self, frame: Frame, ink: Ink, opacity: f64) -> Drawn<DB> {
        let corners = [self.at((frame.left, frame.top)), self.at((frame.right, frame.bottom))];
        self.area.draw(&Rectangle::new(corners, ink.colour().mix(opacity).filled()))
    }

    /// The outline of a rectangle.
    pub(crate) fn outline(&self, frame: Frame, ink: Ink, width: f64) -> Drawn<DB> {
        let Frame { left, top, right, bottom } = frame;
        self.path(&[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], ink, width)
    }

    /// A straight line.
    pub(crate) fn line(&self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64) -> Drawn<DB> {
        self.path(&[from, to], ink, width)
    }

    /// A line through all points.
    pub(crate) fn path(&self, points: &[(f64, f64)], ink: Ink, width: f64) -> Drawn<DB> {
        let mut points: Vec<_> = points.iter().map(|&point| self.at(point)).collect();
        points.dedup();
        self.area.draw(&PathElement::new(points, self.stroke(ink, width)))
    }

    /// A thin line that does not hide what is beneath it.
    pub(crate) fn faint_path(&self, points: &[(f64, f64)], ink: Ink) -> Drawn<DB> {
        let points: Vec<_> = points.iter().map(|&point| self.at(point)).collect();
        self.area.draw(&PathElement::new(points, ink.colour().mix(0.4).stroke_width(self.scale.round() as u32)))
    }

    /// A filled, faint dot.
    pub(crate) fn dot(&self, at: (f64, f64), radius: f64, ink: Ink, opacity: f64) -> Drawn<DB> {
        self.area.draw(&Circle::new(self.at(at), radius * self.scale, ink.colour().mix(opacity).filled()))
    }

    /// A mark: filled with its ink, or hollow.
    pub(crate) fn mark(&self, at: (f64, f64), shape: Shape, radius: f64, ink: Ink, hollow: bool) -> Drawn<DB> {
        let (x, y) = at;
        let corners: Vec<(f64, f64)> = match shape {
            Shape::Circle => {
                let inside = if hollow { Ink::Paper } else { ink };
                self.area.draw(&Circle::new(self.at(at), radius * self.scale, inside.colour().filled()))?;
                return self.area.draw(&Circle::new(self.at(at), radius * self.scale, self.stroke(ink, 1.5)));
            }
            Shape::Square => [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)].to_vec(),
            Shape::Triangle => [(0.0, -1.1), (1.05, 0.8), (-1.05, 0.8)].to_vec(),
            Shape::Diamond => [(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0)].to_vec(),
        };
        let mut corners: Vec<_> = corners.iter().map(|&(dx, dy)| (x + dx * radius, y + dy * radius)).collect();
        let inside = if hollow { Ink::Paper } else { ink };
        let polygon: Vec<_> = corners.iter().map(|&corner| self.at(corner)).collect();
        self.area.draw(&Polygon::new(polygon, inside.colour().filled()))?;
        corners.push(corners[0]);
        self.path(&corners, ink, 1.5)
    }

    /// A bar in the manner of its environment: filled, hatched one way, the other way, crossed.
    pub(crate) fn bar(&self, frame: Frame, slot: usize, emulated: bool) -> Drawn<DB> {
        let ink = Ink::Environment(slot);
        let opacity = if slot == 0 && !emulated { 1.0 } else { 0.25 };
        self.fill(frame, Ink::Paper, 1.0)?;
        self.fill(frame, ink, opacity)?;
        let (down, up) = match (emulated, slot % 4) {
            (false, 0) => (false, false),
            (false, 1) => (true, false),
            (false, 2) => (false, true),
            _ => (true, true),
        };
        if down {
            self.hatch(frame, ink, false)?;
        }
        if up {
            self.hatch(frame, ink, true)?;
        }
        self.outline(frame, ink, 1.5)
    }

    /// Lines at 45 degrees within the frame.
    fn hatch(&self, frame: Frame, ink: Ink, up: bool) -> Drawn<DB> {
        const STEP: f64 = 7.0;
        let height = frame.bottom - frame.top;
        let mut start = frame.left - height + STEP / 2.0;
        while start < frame.right {
            // The line runs from (start, top) to (start + height, bottom); both ends are cut at the frame.
            let (from, to) = (start.max(frame.left), (start + height).min(frame.right));
            if to > from {
                let y = |x: f64| if up { frame.bottom - (x - start) } else { frame.top + (x - start) };
                self.line((from, y(from)), (to, y(to)), ink, 1.0)?;
            }
            start += STEP;
        }
        Ok(())
    }

    fn style(&self, kind: Type, ink: Ink, anchor: Anchor) -> TextStyle<'static> {
        let horizontal = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        // plotters' sizes are 1.24 times what SVG and CSS call the font size.
        let style = if kind.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FontFamily::SansSerif, kind.px * self.scale * 1.24, style)
            .color(&ink.colour())
            .pos(Pos::new(horizontal, VPos::Center))
    }

    /// Width of a text in logical pixels.
    pub(crate) fn width(&self, text: &str, kind: Type) -> f64 {
        let style = self.style(kind, Ink::Text, Anchor::Start);
        self.area.estimate_text_size(text, &style).map_or(0.0, |(width, _)| f64::from(width) / self.scale)
    }

    /// A line of text, vertically centred at the point.
    pub(crate) fn text(&self, text: &str, at: (f64, f64), kind: Type, ink: Ink, anchor: Anchor) -> Drawn<DB> {
        let at = (at.0, at.1 + self.drop * kind.px);
        self.area.draw_text(&drawable(text), &self.style(kind, ink, anchor), self.at(at))
    }

    /// A line of text that reads from bottom to top, centred at the point.
    pub(crate) fn text_upwards(&self, text: &str, at: (f64, f64), kind: Type, ink: Ink) -> Drawn<DB> {
        let style = self.style(kind, ink, Anchor::Middle).transform(FontTransform::Rotate270);
        let at = (at.0 + self.drop * kind.px, at.1);
        self.area.draw_text(&drawable(text), &style, self.at(at))
    }

    /// The text, shortened with an ellipsis where it is wider than `width`.
    pub(crate) fn fit(&self, text: &str, kind: Type, width: f64) -> String {
        let text = drawable(text);
        if self.width(&text, kind) <= width {
            return text;
        }
        let mut kept: Vec<char> = text.chars().collect();
        while !kept.is_empty() {
            kept.pop();
            let short = format!("{}…", kept.iter().collect::<String>().trim_end());
            if self.width(&short, kind) <= width {
                return short;
            }
        }
        String::new()
    }

    /// The text in lines that are at most `width` wide, broken at spaces and after hyphens.
    pub(crate) fn wrap(&self, text: &str, kind: Type, width: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for piece in drawable(text).split_inclusive([' ', '-']) {
            match lines.last_mut() {
                Some(line) if self.width(format!("{line}{piece}").trim_end(), kind) <= width => line.push_str(piece),
                _ => lines.push(piece.to_owned()),
            }
        }
        lines.iter().map(|line| self.fit(line.trim(), kind, width)).collect()
    }
}

/// Without characters that are not seen or that XML forbids, of a bounded length, and no command to a CI system: in an SVG each text
/// has a line to itself.
fn drawable(text: &str) -> String {
    let shown: String = text.chars().take(200).collect();
    bench_text::line(&shown).into_owned()
}

/// Make the embedded font known to plotters.
pub(super) fn register_fonts() -> Result<(), FigureError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = *REGISTERED.get_or_init(|| {
        let normal: &'static [u8] = include_bytes!("../../fonts/DejaVuSans.ttf");
        let bold: &'static [u8] = include_bytes!("../../fonts/DejaVuSans-Bold.ttf");
        register_font("sans-serif", FontStyle::Normal, normal).is_ok()
            && register_font("sans-serif", FontStyle::Bold, bold).is_ok()
    });
    if registered { Ok(()) } else { Err(FigureError::Font) }
}
