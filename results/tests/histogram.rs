//! Histograms merge like bags, and refuse percentiles that too few stalls bear.

use std::collections::BTreeMap;

use bench_results::Histogram;
use bench_results::percentiles::Recorded;
use proptest::prelude::*;

fn bins() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((1_u64..10_000_000, 0_u64..1000), 0..60)
}

fn merged(a: &Histogram, b: &Histogram) -> Histogram {
    let mut all = a.clone();
    all.merge(b);
    all
}

/// As a workload with these parameters records it.
fn recorded(direction: &str, parameters: &[(&str, &str)]) -> Recorded {
    let parameters = parameters.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Recorded::of(&parameters.collect::<BTreeMap<_, _>>(), direction)
}

/// The bin of fio that a latency falls into, named as fio names it.
fn fio_bin(ns: u64) -> u64 {
    match ns.ilog2() {
        0..=6 => ns,
        octave => {
            let width = 1 << (octave - 6);
            ns / width * width + width / 2
        }
    }
}

/// The same of our probe.
fn probe_bin(ns: u64) -> u64 {
    match ns.ilog2() {
        0..=7 => ns,
        octave => {
            let width = 1 << (octave - 7);
            ns / width * width + width - 1
        }
    }
}

proptest! {
    #[test]
    fn merging_is_associative_and_commutative(a in bins(), b in bins(), c in bins()) {
        let [a, b, c] = [a, b, c].map(Histogram::from_bins);
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&a, &b).count(), a.count() + b.count());
    }

    #[test]
    fn percentiles_rise_and_lie_on_the_drawn_curve(bins in bins()) {
        let histogram = Histogram::from_bins(bins);
        for direction in ["read", "round_trip"] {
            let recorded = recorded(direction, &[]);
            let fractions: Vec<f64> = (1..1000).map(|n| f64::from(n) / 1000.0).collect();
            let found: Vec<(f64, f64)> =
                fractions.iter().filter_map(|&q| Some((recorded.percentile_ns(&histogram, q)?, q))).collect();
            prop_assert!(found.is_sorted_by(|a, b| a.0 <= b.0), "{:?}", found);
            let curve = recorded.cumulated(&histogram);
            prop_assert!(curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{:?}", curve);
            for (ns, q) in found {
                let at = curve.iter().position(|point| point.1 >= q - 1e-9).unwrap();
                let ((x0, y0), (x1, y1)) = (curve[at.saturating_sub(1)], curve[at]);
                let x = if y1 > y0 { x0 + (q - y0) / (y1 - y0) * (x1 - x0) } else { x1 };
                prop_assert!((x / ns - 1.0).abs() < 1e-6, "{} {} {}", q, x, ns);
            }
        }
    }

    /// The bound that the documents state: it is in the bin of the true percentile, so that it is off by less than the bin's width.
    #[test]
    fn it_is_within_a_bin_of_the_true_one(latencies in proptest::collection::vec(1_u64..50_000_000, 2000..3000), q in 0.01_f64..0.99) {
        let mut sorted = latencies.clone();
        sorted.sort_unstable();
        let truth = sorted[(q * sorted.len() as f64).ceil() as usize - 1] as f64;
        for (direction, bin, width) in [("read", fio_bin as fn(u64) -> u64, 1.0 / 64.0), ("round_trip", probe_bin, 1.0 / 128.0)] {
            let histogram = Histogram::from_bins(latencies.iter().map(|&ns| (bin(ns), 1)));
            let found = recorded(direction, &[]).percentile_ns(&histogram, q).unwrap();
            prop_assert!((found - truth).abs() <= f64::max(1.0, truth * width), "{} for {}", found, truth);
        }
    }
}

/// Two environments that differ by 0.3 % are in the same bins; interpolated, the difference is seen, and not as 0 or 1.6 %.
#[test]
fn differences_smaller_than_a_bin_are_seen() {
    let exact = |factor: f64| (0..200_000_u32).map(move |n| factor * (80_000.0 + f64::from(n) * 0.4));
    for (direction, bin) in [("read", fio_bin as fn(u64) -> u64), ("round_trip", probe_bin)] {
        let median = |factor: f64| {
            let histogram = Histogram::from_bins(exact(factor).map(|ns| (bin(ns as u64), 1)));
            recorded(direction, &[]).percentile_ns(&histogram, 0.5).unwrap()
        };
        let (base, slower) = (median(1.0), median(1.003));
        assert!((base / 120_000.0 - 1.0).abs() < 1e-4, "{direction}: {base}");
        assert!((slower / base / 1.003 - 1.0).abs() < 1e-4, "{direction}: {}", slower / base);
    }
}

#[test]
fn a_percentile_needs_ten_stalls_beyond_it() {
    let histogram = Histogram::from_bins((1..=1000).map(|ns| (ns, 1)));
    let alone = recorded("read", &[("iodepth", "1"), ("jobs", "1")]);
    assert!((alone.percentile_ns(&histogram, 0.5).unwrap() - 501.0).abs() < 5.0);
    assert!((alone.percentile_ns(&histogram, 0.99).unwrap() - 991.0).abs() < 10.0);
    assert_eq!(alone.percentile_ns(&histogram, 0.999), None, "one I/O is no tail");
    for q in [-0.1, 1.0, 2.0, f64::NAN] {
        assert_eq!(alone.percentile_ns(&histogram, q), None);
    }
    assert_eq!(alone.percentile_ns(&Histogram::default(), 0.5), None);
    // One stall delays all that is in flight.
    let many = |ios: u64| Histogram::from_bins([(90_000, ios - ios / 100), (5_000_000, ios / 100)]);
    for (iodepth, jobs, needed) in [("1", "1", 1_000), ("16", "1", 16_000), ("16", "8", 128_000), ("1", "8", 8_000)] {
        let deep = recorded("read", &[("iodepth", iodepth), ("jobs", jobs)]);
        assert_eq!(deep.needs(&many(needed), 0.99), needed);
        assert!(deep.percentile_ns(&many(needed), 0.99).is_some(), "{iodepth} x {jobs}");
        assert_eq!(deep.percentile_ns(&many(needed - 100), 0.99), None, "{iodepth} x {jobs}");
    }
    // Parameters that are none, as in other people's records, are one in flight.
    for text in ["", "0", "-3", "many"] {
        assert_eq!(recorded("write", &[("iodepth", text)]).needs(&histogram, 0.99), 1_000);
    }
}

/// At a fixed rate a stall delays whatever was due meanwhile, however few are sent at once.
#[test]
fn at_a_fixed_rate_the_longest_latency_says_how_many_a_stall_delays() {
    let paced = recorded("round_trip", &[("per_s", "1000")]);
    let stalled = |ms: u64| Histogram::from_bins([(30_000, 20_000), (ms * 1_000_000, 300)]);
    assert_eq!((paced.in_flight(&stalled(1)), paced.in_flight(&stalled(40))), (1, 40));
    assert!(paced.percentile_ns(&stalled(1), 0.99).is_some());
    assert_eq!(paced.percentile_ns(&stalled(40), 0.99), None, "it may have been one stall of 40 ms, or ten");
    assert_eq!(recorded("round_trip", &[]).in_flight(&stalled(40)), 1, "one in flight otherwise");
    // No block loses its median for a stall: half of the requests are not of one that took less than half of the time.
    assert!(paced.percentile_ns(&stalled(5_000), 0.5).is_some_and(|ns| ns < 31_000.0));
    assert_eq!(paced.cumulated(&stalled(5_000)).last().map(|point| point.1), Some(0.5));
}
