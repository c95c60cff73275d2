//! Numbers for people: three significant digits, one unit for all values of a chart or column.

use bench_results::{Direction, Unit};

/// A unit that suits the largest value of a chart or column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    divisor: f64,
    /// The unit as shown: `MB/s`, `µs`, `k IOPS`.
    pub(crate) name: &'static str,
}

impl Scale {
    /// The unit in which `largest` reads best.
    pub(crate) fn of(unit: Unit, largest: f64) -> Scale {
        let steps: &[(f64, &'static str)] = match unit {
            Unit::Iops => &[(1.0, "IOPS"), (1e3, "k IOPS"), (1e6, "M IOPS")],
            Unit::BytesPerS => &[(1.0, "B/s"), (1e3, "kB/s"), (1e6, "MB/s"), (1e9, "GB/s")],
            Unit::Ns => &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")],
            Unit::PerS => &[(1.0, "per s"), (1e3, "k per s"), (1e6, "M per s")],
            Unit::NsPerByte => &[(1.0, "ns per byte")],
            Unit::NsPerUnit => &[(1.0, "ns each"), (1e3, "µs each"), (1e6, "ms each")],
            Unit::CyclesPerByte => &[(1.0, "cycles per byte")],
            Unit::NsPerIo => &[(1.0, "ns per I/O"), (1e3, "µs per I/O"), (1e6, "ms per I/O")],
            Unit::Bytes => &[(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")],
        };
        // 9,500 IOPS read better than 9.50 k IOPS, and so do 5,000 MB/s than 5 GB/s.
        let most = match unit {
            Unit::Iops | Unit::BytesPerS | Unit::PerS => 9.995,
            _ => 0.9995,
        };
        let fits = |&&(divisor, _): &&(f64, _)| largest.abs() >= divisor * most;
        let (divisor, name) = steps.iter().rev().find(fits).copied().unwrap_or(steps[0]);
        Scale { divisor, name }
    }

    /// The value in this unit.
    pub(crate) fn apply(self, value: f64) -> f64 {
        value / self.divisor
    }

    /// The value in this unit, without its name.
    pub(crate) fn number(self, value: f64) -> String {
        significant(self.apply(value))
    }
}

/// A value with the unit that suits it: `262 µs`.
pub(crate) fn human(value: f64, unit: Unit) -> String {
    let scale = Scale::of(unit, value);
    format!("{} {}", scale.number(value), scale.name)
}

/// The same for what was chosen, not measured: `1 GiB`, not `1.00 GiB`.
pub(crate) fn chosen(value: f64, unit: Unit) -> String {
    let scale = Scale::of(unit, value);
    let number = scale.number(value);
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number} {}", scale.name)
}

/// Three significant digits, never an exponent, thousands grouped.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    // The magnitude after rounding: 9.996 has two decimals too many as "10.00".
    let magnitude = (value.abs().log10() + 1e-9).floor();
    let rounded = (value.abs() / 10f64.powf(magnitude - 2.0)).round() * 10f64.powf(magnitude - 2.0);
    let decimals = (2.0 - (rounded.log10() + 1e-9).floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if decimals == 0 { grouped(&text) } else { text }
}

/// `1234567` as `1,234,567`.
fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio: `0.996`, `1.02`, `12.3`, `0.0312`.
pub(crate) fn ratio(value: f64) -> String {
    if (0.1..10.0).contains(&value) { format!("{value:.3}") } else { significant(value) }
}

/// Which values of a metric are better, the same words in every form.
pub(crate) fn is_better(better: Direction) -> &'static str {
    match better {
        Direction::Higher => "higher is better",
        Direction::Lower => "lower is better",
    }
}

/// A metric as every row names it: `IOPS (higher is better)`.
pub(crate) fn metric(title: &str, better: Direction) -> String {
    format!("{title} ({})", is_better(better))
}

/// A space at which no line is broken.
pub(crate) const NO_BREAK: char = '\u{a0}';

/// Percentages stay whole where lines are broken.
pub(crate) fn together(text: &str) -> String {
    text.replace(" %", &format!("{NO_BREAK}%"))
}

/// A ratio with its interval where there is one: `0.996 [0.984, 1.008]`.
pub(crate) fn ratio_with(value: f64, interval: Option<(f64, f64)>) -> String {
    match interval {
        Some(interval) => format!("{} {}", ratio(value), bounds(interval)),
        None => ratio(value),
    }
}

/// An interval of ratios: `[0.984, 1.008]`.
pub(crate) fn bounds((low, high): (f64, f64)) -> String {
    format!("[{}, {}]", ratio(low), ratio(high))
}

/// Two values in one unit: `84.0 → 82.1 k IOPS`; only the second where there is no first.
pub(crate) fn from_to(from: Option<f64>, to: Option<f64>, unit: Unit) -> String {
    match (from, to) {
        (Some(from), Some(to)) => {
            let scale = Scale::of(unit, from.max(to));
            format!("{} → {} {}", scale.number(from), scale.number(to), scale.name)
        }
        (None, Some(to)) => human(to, unit),
        _ => "–".to_owned(),
    }
}

/// A p value: `0.031`, `< 0.001`.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

/// Seconds as `12 s`, `3 min 20 s`, `1 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// A number of things with its noun: `1 block`, `8 blocks`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A fraction as percent: `10 %`, `2.5 %`.
pub(crate) fn percent(fraction: f64) -> String {
    let text = format!("{:.1}", fraction * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_significant_digits_and_a_fitting_unit() {
        for (value, unit, text) in [
            (84_044.0, Unit::Iops, "84.0 k IOPS"),
            (9_876.0, Unit::Iops, "9,876 IOPS"),
            (806.94e6, Unit::BytesPerS, "807 MB/s"),
            (262_000.0, Unit::Ns, "262 µs"),
            (9_996.0, Unit::Ns, "10.0 µs"),
            (999_600.0, Unit::Ns, "1.00 ms"),
            (0.0, Unit::Ns, "0 ns"),
            (1_181_116_006.0, Unit::Bytes, "1.10 GiB"),
            (12_345.0, Unit::NsPerIo, "12.3 µs per I/O"),
            (26_608.4, Unit::PerS, "26.6 k per s"),
            (0.912, Unit::NsPerByte, "0.912 ns per byte"),
        ] {
            assert_eq!(human(value, unit), text);
        }
        assert_eq!(chosen(1_073_741_824.0, Unit::Bytes), "1 GiB");
        assert_eq!(chosen(2.5e9, Unit::Ns), "2.5 s");
        assert_eq!(chosen(200e9, Unit::Ns), "200 s");
        assert_eq!(significant(f64::NAN), "–");
        assert_eq!(significant(-1_234_567.0), "-1,234,567");
        assert_eq!(significant(0.000_123_4), "0.000123");
    }

    #[test]
    fn ratios_and_durations() {
        assert_eq!(ratio_with(0.9961, Some((0.984, 1.0082))), "0.996 [0.984, 1.008]");
        assert_eq!(ratio(0.03123), "0.0312");
        assert_eq!(ratio(31.23), "31.2");
        assert_eq!(percent(0.1), "10 %");
        assert_eq!(percent(0.025), "2.5 %");
        assert_eq!(duration(59.6), "1 min 0 s");
        assert_eq!(duration(3_900.0), "1 h 5 min");
        assert_eq!(count(1, "block"), "1 block");
        assert_eq!((p_value(0.0312), p_value(0.0)), ("0.031".to_owned(), "< 0.001".to_owned()));
        assert_eq!(from_to(Some(84_000.0), Some(9_000.0), Unit::Iops), "84.0 → 9.00 k IOPS");
        assert_eq!(from_to(Some(1.0), None, Unit::Ns), "–");
    }
}
