"""Prints the values that the tests of results/src/statistics.rs compare with. Needs numpy and scipy."""

import itertools

import numpy as np
from scipy import stats

ratios = np.log([1.02, 0.97, 1.05, 1.01, 0.99, 1.03, 1.00, 1.04])
low, high = stats.t.interval(0.95, len(ratios) - 1, ratios.mean(), stats.sem(ratios))
print("PAIRED", np.exp([ratios.mean(), low, high]).tolist())

sums = [abs(np.dot(signs, ratios)) for signs in itertools.product([1, -1], repeat=len(ratios))]
print("SIGN_FLIP_P", np.mean(np.array(sums) >= abs(ratios.sum()) - 1e-12))

a, b = np.log([101, 99, 104, 102, 98]), np.log([95, 97, 93, 99])
interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
print("WELCH", np.exp([a.mean() - b.mean(), interval.low, interval.high]).tolist())

differences = np.array([1.5, -0.25, 3.0, 2.25, 0.75, 1.0])
print("MEAN", list(stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))))
