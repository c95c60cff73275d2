//! From values to pixels, and the ticks that people read.

use crate::units::significant;

/// A linear or logarithmic axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    from_px: f64,
    to_px: f64,
}

impl Axis {
    /// Values `low` to `high`, evenly, on pixels `from_px` to `to_px`.
    pub(crate) fn linear((low, high): (f64, f64), (from_px, to_px): (f64, f64)) -> Axis {
        Axis { low, high: if high > low { high } else { low + 1.0 }, logarithmic: false, from_px, to_px }
    }

    /// Values `low` to `high`, both above zero, by their logarithm on pixels `from_px` to `to_px`.
    pub(crate) fn logarithmic((low, high): (f64, f64), (from_px, to_px): (f64, f64)) -> Axis {
        let low = low.max(f64::MIN_POSITIVE);
        Axis { low, high: if high > low { high } else { low * 2.0 }, logarithmic: true, from_px, to_px }
    }

    /// Pixel of a value, cut at the axis' ends.
    pub(crate) fn px(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let part = if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from_px + part * (self.to_px - self.from_px)
    }

    /// True when the value is on the axis.
    pub(crate) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Those of the wanted tick sets, finest first, whose ticks are at least `apart_px` from each other and not lone.
    fn first_readable(&self, sets: impl IntoIterator<Item = Vec<f64>>, apart_px: f64) -> Vec<f64> {
        let mut last = Vec::new();
        for set in sets {
            let ticks: Vec<f64> = set.into_iter().filter(|&value| self.holds(value)).collect();
            let readable = ticks.windows(2).all(|pair| (self.px(pair[1]) - self.px(pair[0])).abs() >= apart_px);
            if readable && !ticks.is_empty() {
                return ticks;
            }
            last = ticks;
        }
        last
    }

    /// Ticks of a logarithmic axis of ratios around 1.
    pub(crate) fn ratio_ticks(&self, apart_px: f64) -> Vec<f64> {
        let even = |step: f64| {
            let first = (self.low / step).ceil() as i64;
            (first..).map(move |n| n as f64 * step).take_while(|&v| v <= self.high).take(400).collect::<Vec<_>>()
        };
        let near = self.low >= 1.0 / 16.0 && self.high <= 16.0;
        let doubling = (-4..=4).filter(|_| near).map(|power| 2f64.powi(power)).collect();
        let fine = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0].to_vec();
        let coarse = [0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0].to_vec();
        let sets = [
            even(0.01),
            even(0.02),
            even(0.05),
            even(0.1),
            fine,
            coarse,
            doubling,
            decades(&[1.0, 2.0, 5.0]),
            decades(&[1.0]),
        ];
        self.first_readable(sets, apart_px)
    }

    /// Ticks of a logarithmic axis: 1, 2, 5 of each power of ten, or the powers alone.
    pub(crate) fn decade_ticks(&self, apart_px: f64) -> Vec<f64> {
        self.first_readable([decades(&[1.0, 2.0, 5.0]), decades(&[1.0, 3.0]), decades(&[1.0])], apart_px)
    }
}

fn decades(digits: &[f64]) -> Vec<f64> {
    (-12..=15).flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power))).collect()
}

/// A round number at or above `largest`, and the ticks from 0 to it, about `wanted` of them.
pub(crate) fn from_zero(largest: f64, wanted: f64) -> (f64, Vec<f64>) {
    if !(largest.is_finite() && largest > 0.0) {
        return (1.0, vec![0.0, 1.0]);
    }
    let raw = largest / wanted;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|&step| step >= raw * 0.999);
    let step = step.unwrap_or(power * 10.0);
    let steps = (largest / step - 1e-9).ceil().max(1.0) as usize;
    (step * steps as f64, (0..=steps).map(|n| n as f64 * step).collect())
}

/// A tick's number as short as it can be: `0.9`, `1`, `2.5`, `20`.
pub(crate) fn tick_text(value: f64) -> String {
    if value >= 1000.0 {
        return significant(value);
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_follow_the_scale_and_stop_at_the_ends() {
        let axis = Axis::logarithmic((0.1, 10.0), (0.0, 200.0));
        assert!((axis.px(1.0) - 100.0).abs() < 1e-9);
        assert_eq!(axis.px(1000.0), 200.0);
        let axis = Axis::linear((0.0, 4.0), (100.0, 0.0));
        assert_eq!(axis.px(1.0), 75.0);
    }

    #[test]
    fn ratio_ticks_get_coarser_with_the_span() {
        let ticks = |low, high| Axis::logarithmic((low, high), (0.0, 500.0)).ratio_ticks(40.0);
        let texts = |low, high| ticks(low, high).into_iter().map(tick_text).collect::<Vec<_>>().join(" ");
        assert_eq!(texts(0.88, 1.13), "0.9 0.95 1 1.05 1.1");
        assert_eq!(texts(0.4, 2.1), "0.4 0.5 0.6 0.8 1 1.2 1.5 2");
        assert_eq!(texts(0.001, 1.5), "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1");
        assert_eq!(texts(0.0001, 1.5), "0.0001 0.001 0.01 0.1 1");
    }

    #[test]
    fn axes_from_zero_end_at_round_numbers() {
        assert_eq!(from_zero(806.9, 4.0), (1000.0, vec![0.0, 250.0, 500.0, 750.0, 1000.0]));
        assert_eq!(from_zero(84.0, 5.0).0, 100.0);
        assert_eq!(from_zero(0.0, 5.0).0, 1.0);
        assert_eq!(from_zero(f64::NAN, 5.0).0, 1.0);
    }
}
