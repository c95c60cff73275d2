//! Histograms merge like bags, and refuse percentiles that too few I/Os bear.

use bench_results::Histogram;
use proptest::prelude::*;

fn bins() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((1_u64..10_000_000, 0_u64..1000), 0..60)
}

fn merged(a: &Histogram, b: &Histogram) -> Histogram {
    let mut all = a.clone();
    all.merge(b);
    all
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
    fn percentiles_rise_and_are_values_that_occurred(bins in bins()) {
        let histogram = Histogram::from_bins(bins);
        let found: Vec<u64> = [0.1, 0.5, 0.9, 0.99, 0.999].iter().filter_map(|&q| histogram.percentile_ns(q)).collect();
        prop_assert!(found.is_sorted());
        prop_assert!(found.iter().all(|ns| histogram.bins().iter().any(|(bin, _)| bin == ns)));
    }
}

#[test]
fn a_percentile_needs_enough_above_it() {
    let histogram = Histogram::from_bins((1..=1000).map(|ns| (ns, 1)));
    assert_eq!(histogram.percentile_ns(0.5), Some(500));
    assert_eq!(histogram.percentile_ns(0.99), Some(990));
    assert_eq!(histogram.percentile_ns(0.999), None, "one I/O is no tail");
    for q in [-0.1, 1.0, 2.0, f64::NAN] {
        assert_eq!(histogram.percentile_ns(q), None);
    }
    assert_eq!(Histogram::default().percentile_ns(0.5), None);
}
