//! Sizes, times and percentages as people write them; a number without its unit is refused.

/// Units of size; the first that fits is the one to suggest.
const SIZES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const TIMES: &[(&str, f64)] = &[("ms", 1e-3), ("min", 60.0), ("s", 1.0), ("h", 3_600.0), ("d", 86_400.0)];

/// Bytes: `1GiB` is 2^30, `1GB` is 10^9.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let refuse = |why: &str| Err(format!("`{text}` is not a size: {why}, such as 64MiB or 1GiB"));
    if unit.is_empty() && !number.is_empty() {
        return refuse("it needs a unit");
    }
    let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        return refuse("write a number and one of KiB, MiB, GiB, TiB, kB, MB, GB, TB");
    };
    let Ok(value) = number.parse::<f64>() else { return refuse("write a number with its unit") };
    let bytes = value * *factor as f64;
    if !(1.0..=(1_u64 << 60) as f64).contains(&bytes) || bytes.fract() != 0.0 {
        return refuse("it must be a whole number of bytes, more than 0 and at most 1024 PiB");
    }
    Ok(bytes as u64)
}

/// Seconds, from `500ms`, `2s`, `1min`, `1h`, `1d`; may be 0 (`0s`), and negative where the caller allows it.
pub fn parse_duration(text: &str) -> Result<f64, String> {
    let (number, unit) = split(text);
    let factor = TIMES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor);
    match (number.parse::<f64>(), factor) {
        (Ok(value), Some(factor)) if value.is_finite() && value.abs() < 1e9 => Ok(value * factor),
        _ => Err(format!("`{text}` is not a time: write a number and one of ms, s, min, h, d, such as 500ms or 2s")),
    }
}

/// The number in front, and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_kinds_of_units_are_taken() {
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("1GB"), Ok(1_000_000_000));
        assert_eq!(parse_size("1.5 MiB"), Ok(3 << 19));
        assert_eq!(parse_duration("500ms"), Ok(0.5));
        assert_eq!(parse_duration("1d"), Ok(86_400.0));
    }

    #[test]
    fn what_is_wrong_is_said_with_an_example() {
        for text in
            ["", "0", "-1", "10", "0GiB", "-1GiB", "1G", "GiB", "1.0000001KiB", "9999999TiB", "1e9GiB", "NaNGiB"]
        {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains("64MiB"), "{text}: {error}");
        }
        assert!(parse_size("10").unwrap_err().contains("needs a unit"));
        for text in ["", "2", "s", "2 sec", "infs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}") {
            let _ = (parse_size(&text), parse_duration(&text));
        }

        #[test]
        fn whole_mebibytes_are_exact(mebibytes in 1_u64..1_000_000) {
            prop_assert_eq!(parse_size(&format!("{mebibytes}MiB")), Ok(mebibytes << 20));
        }
    }
}
