//! Sizes, times, percentages and counts as people write them, on the command line and in suite and policy files.
//!
//! Each kind has one reading. What could be read in two ways is refused, and the error names both.

use serde::Deserialize;

/// Units of size, in small letters. A letter alone is binary, as fio, VMMs, docker and systemd read it.
const SIZES: &[(&[&str], u64)] = &[
    (&["b", "byte", "bytes"], 1),
    (&["kib", "k"], 1 << 10),
    (&["mib", "m"], 1 << 20),
    (&["gib", "g"], 1 << 30),
    (&["tib", "t"], 1 << 40),
    (&["kb"], 1_000),
    (&["mb"], 1_000_000),
    (&["gb"], 1_000_000_000),
    (&["tb"], 1_000_000_000_000),
];

/// Units of time, in small letters.
const TIMES: &[(&[&str], f64)] = &[
    (&["us", "µs"], 1e-6),
    (&["ms"], 1e-3),
    (&["s", "sec", "secs", "second", "seconds"], 1.0),
    (&["min", "m", "mins", "minute", "minutes"], 60.0),
    (&["h", "hour", "hours"], 3_600.0),
    (&["d", "day", "days"], 86_400.0),
];

/// A quantity in a TOML file: `"5%"`, and without quotation marks where TOML takes it so: `5`, `2.5`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Written(toml::Value);

impl Written {
    /// As it was written.
    pub fn text(&self) -> String {
        self.0.as_str().map_or_else(|| self.0.to_string(), str::to_owned)
    }
}

/// Bytes: `1GiB` and `1G` are 2^30, `1GB` is 10^9.
///
/// # Errors
/// What is wrong, with an example; a number without its unit.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = |why: &str| Err(format!("`{text}` is not a size: {why}, such as 64MiB or 1GiB"));
    let Some((value, unit)) = split(text) else {
        return refuse("write a number and one of KiB, MiB, GiB, TiB, kB, MB, GB, TB");
    };
    if unit.is_empty() {
        return refuse("it needs a unit");
    }
    let Some(factor) = factor(SIZES, &unit) else {
        return refuse("write a number and one of KiB, MiB, GiB, TiB (also K, M, G, T), kB, MB, GB, TB");
    };
    let bytes = value * factor as f64;
    if !(1.0..=(1_u64 << 60) as f64).contains(&bytes) || bytes.fract() != 0.0 {
        return refuse("it must be a whole number of bytes, more than 0 and at most 1024 PiB");
    }
    Ok(bytes as u64)
}

/// Seconds, from `500ms`, `2s`, `1min`, `1h`, `1d`; may be 0 (`0s`), and negative where the caller allows it.
///
/// # Errors
/// What is wrong, with an example; a number without its unit.
pub fn parse_duration(text: &str) -> Result<f64, String> {
    let refuse = |why: &str| Err(format!("`{text}` is not a time: {why}, such as 500ms or 2s"));
    let written = text.trim();
    let (sign, written) = written.strip_prefix('-').map_or((1.0, written), |rest| (-1.0, rest));
    match split(written) {
        Some((_, unit)) if unit.is_empty() => refuse("it needs a unit"),
        Some((value, unit)) => match factor(TIMES, &unit) {
            Some(factor) if value < 1e9 => Ok(sign * value * factor),
            _ => refuse("write a number and one of ms, s, min, h, d"),
        },
        None => refuse("write a number and one of ms, s, min, h, d"),
    }
}

/// A margin as a fraction: `5%`, `5 %` and `5` are 0.05. A number below 1 without `%` is refused: `0.05` could be 0.05 % or a fraction.
///
/// # Errors
/// What is wrong, with an example.
pub fn parse_margin(text: &str) -> Result<f64, String> {
    match percentage(text) {
        Some((value, false)) if value > 0.0 && value < 1.0 => {
            let fraction = percent_text(value * 100.0);
            Err(format!(
                "`{text}` could be {text} % or {fraction} %: write `{text}%` or `{fraction}%` (5 and 5% are both 5 %)"
            ))
        }
        Some((value, _)) if value > 0.0 && value <= 100.0 => Ok(value / 100.0),
        _ => Err(format!("`{text}` is not a percentage of more than 0% and at most 100%, such as 5% or 5")),
    }
}

/// How often something is to succeed, as a fraction from 0.5 to 0.999: `80%`, `80 %`, `80` and `0.8` are 0.8.
///
/// # Errors
/// What is wrong, with an example.
pub fn parse_power(text: &str) -> Result<f64, String> {
    let fraction =
        percentage(text).map(|(value, is_percent)| if is_percent || value > 1.0 { value / 100.0 } else { value });
    fraction
        .filter(|power| (0.5..=0.999).contains(power))
        .ok_or_else(|| format!("`{text}` is not a share from 50% to 99.9%, such as 0.95 or 95%"))
}

/// A whole number from 1 to `most`: `8`.
///
/// # Errors
/// What is wrong, with the bounds.
pub fn parse_count(text: &str, most: u64) -> Result<u64, String> {
    let digits = text.trim();
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    match digits.parse::<u64>() {
        Ok(number) if plain && (1..=most).contains(&number) => Ok(number),
        _ if most == u64::MAX => Err(format!("`{text}` is not a whole number above 0, such as 8")),
        _ => Err(format!("`{text}` is not a whole number: it must be 1 to {most}")),
    }
}

/// A whole number of percent from 1 to 99: `70`, `70%`, `70 %`.
///
/// # Errors
/// What is wrong, with the bounds.
pub fn parse_whole_percent(text: &str) -> Result<u8, String> {
    match percentage(text) {
        Some((value, _)) if (1.0..=99.0).contains(&value) && value.fract() == 0.0 => Ok(value as u8),
        _ => Err(format!("`{text}`: it must be a whole number of percent, 1 to 99, such as 70 or 70%")),
    }
}

/// A number that may be followed by a percent sign, and whether it is.
fn percentage(text: &str) -> Option<(f64, bool)> {
    let (value, unit) = split(text)?;
    match unit.as_str() {
        "" => Some((value, false)),
        "%" | "percent" => Some((value, true)),
        _ => None,
    }
}

/// At most four decimals, and none that are zero: 0.05 × 100 is 5.
fn percent_text(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn factor<T: Copy>(units: &[(&[&str], T)], unit: &str) -> Option<T> {
    units.iter().find(|(names, _)| names.contains(&unit)).map(|(_, factor)| *factor)
}

/// The number in front (digits with at most one point), and the word that follows it, in small letters.
fn split(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let value: f64 = text[..end].parse().ok()?;
    Some((value, text[end..].trim().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_taken_as_people_write_them() {
        let all =
            [("1GiB", 1 << 30), ("1GB", 1_000_000_000), ("1.5 MiB", 3 << 19), ("1G", 1 << 30), ("512m", 512 << 20)];
        let more = [("64mib", 64 << 20), ("64 Mb", 64_000_000), (" 4K ", 4096), ("4096 bytes", 4096), ("4096B", 4096)];
        for (text, bytes) in all.into_iter().chain(more) {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn times_are_taken_as_people_write_them() {
        for (text, seconds) in [
            ("500ms", 0.5),
            ("1d", 86_400.0),
            ("2 s", 2.0),
            ("2 sec", 2.0),
            ("1m", 60.0),
            ("1.5H", 5400.0),
            ("-1h", -3600.0),
        ] {
            assert_eq!(parse_duration(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_an_example() {
        for text in [
            "",
            "0",
            "-1",
            "10",
            "0GiB",
            "-1GiB",
            "1X",
            "GiB",
            "1.0000001KiB",
            "9999999TiB",
            "1e9GiB",
            "NaNGiB",
            "1.2.3M",
        ] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains("64MiB"), "{text}: {error}");
        }
        assert!(parse_size("10").unwrap_err().contains("needs a unit"));
        for text in ["", "2", "s", "2 fortnights", "infs", "--1s", "1min30s"] {
            assert!(parse_duration(text).unwrap_err().contains("500ms"), "{text}");
        }
        assert!(parse_duration("2").unwrap_err().contains("needs a unit"));
    }

    #[test]
    fn margins_are_percentages_with_and_without_the_sign() {
        for text in ["5%", "5 %", "5", " 5.0 ", "5percent", "5 percent"] {
            assert_eq!(parse_margin(text), Ok(0.05), "{text}");
        }
        assert_eq!((parse_margin("0.5%"), parse_margin("1"), parse_margin("2.5")), (Ok(0.005), Ok(0.01), Ok(0.025)));
        for wrong in ["", "0", "0%", "-5%", "-5", "101", "101%", "x%", "NaN%", "5%%", "5‰", "2,5%", "1e1"] {
            assert!(parse_margin(wrong).unwrap_err().contains("such as 5%"), "{wrong}");
        }
    }

    #[test]
    fn a_margin_that_could_be_a_fraction_is_refused_with_both_readings() {
        let error = parse_margin("0.05").unwrap_err();
        assert!(error.contains("`0.05%` or `5%`"), "{error}");
        assert!(parse_margin("0.1").unwrap_err().contains("`0.1%` or `10%`"));
    }

    #[test]
    fn power_is_a_fraction_or_a_percentage() {
        for text in ["0.8", "80%", "80 %", "80", "80.0%"] {
            assert!((parse_power(text).unwrap() - 0.8).abs() < 1e-12, "{text}");
        }
        for wrong in ["", "0.2", "1", "100", "0.8%", "49%", "NaN", "x", "-0.9"] {
            assert!(parse_power(wrong).unwrap_err().contains("such as 0.95"), "{wrong}");
        }
    }

    #[test]
    fn counts_and_whole_percentages_have_bounds() {
        assert_eq!((parse_count("8", 10), parse_count(" 10 ", 10)), (Ok(8), Ok(10)));
        for wrong in ["", "0", "11", "-1", "+1", "1.5", "8x", "99999999999999999999"] {
            assert!(parse_count(wrong, 10).unwrap_err().contains("1 to 10"), "{wrong}");
        }
        assert_eq!(["70", "70%", "70 %"].map(parse_whole_percent), [Ok(70), Ok(70), Ok(70)]);
        for wrong in ["0", "100", "0.7", "70.5%", "x"] {
            assert!(parse_whole_percent(wrong).unwrap_err().contains("1 to 99"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}") {
            let _ = (parse_size(&text), parse_duration(&text), parse_margin(&text), parse_power(&text), parse_count(&text, 9));
        }

        #[test]
        fn whole_mebibytes_are_exact(mebibytes in 1_u64..1_000_000) {
            prop_assert_eq!(parse_size(&format!("{mebibytes}MiB")), Ok(mebibytes << 20));
        }

        #[test]
        fn a_whole_percentage_is_read_alike_with_and_without_its_sign(percent in 1_u32..=100) {
            prop_assert_eq!(parse_margin(&percent.to_string()), parse_margin(&format!("{percent} %")));
        }
    }
}
