"""Prints the values that the tests of results/src/statistics.rs and checks.rs compare with. Needs numpy and scipy."""

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
# A comparison of two runs: unequal numbers and variances, the degrees of freedom, and the one-sided p at the edges of a 5 % margin.
new, base = np.log([0.80, 0.83, 0.79, 0.81, 0.82, 0.78]), np.log([0.97, 1.01, 0.90, 1.06])
result = stats.ttest_ind(new, base, equal_var=False)
difference, freedom = new.mean() - base.mean(), result.df
error = difference / result.statistic
print("WELCH_FREEDOM", freedom)
print("WELCH_INTERVAL", np.exp([difference, *result.confidence_interval(0.95)]).tolist())
print("WELCH_P_BELOW", stats.t.cdf((difference - np.log(1 / 1.05)) / error, freedom))
print("WELCH_P_ABOVE", stats.t.sf((difference - np.log(1.05)) / error, freedom))
print("PAIRED_P_BELOW", stats.ttest_1samp(ratios, np.log(1.05), alternative="less").pvalue)
print("PAIRED_P_ABOVE", stats.ttest_1samp(ratios, np.log(1 / 1.05), alternative="greater").pvalue)
line = stats.linregress([1, 2, 3, 4, 5, 6], [1.0, 1.3, 0.9, 1.6, 1.4, 1.9])
print("SLOPE", line.slope, line.pvalue)
# One run with the order in its blocks modelled: ordinary least squares on an intercept and how many places later an environment came.
# The textbook's formulas, with numpy's solver: the intercept is the log-ratio at equal places. `ORDER_LINE` is SciPy's own.
for name, rows in {
    "ORDER": [(1, 1.02), (-2, 0.95), (3, 1.09), (-1, 1.00), (2, 1.03), (-3, 0.94), (1, 1.04), (-1, 0.97)],
    "ORDER_UNBALANCED": [(1, 0.90), (2, 0.93), (-1, 0.84), (1 / 3, 0.88), (3, 0.95), (2, 0.91), (1, 0.92)],
}.items():
    x, y = np.array([row[0] for row in rows]), np.log([row[1] for row in rows])
    design = np.column_stack([np.ones_like(x), x])
    (effect, slope), rest, _, _ = np.linalg.lstsq(design, y, rcond=None)
    freedom = len(y) - 2
    sd = np.sqrt(rest[0] / freedom)
    error = sd * np.sqrt(np.linalg.inv(design.T @ design)[0, 0])
    half = stats.t.ppf(0.975, freedom) * error
    print(name, np.exp([effect, effect - half, effect + half, slope]).tolist(), sd, freedom)
    line = stats.linregress(x, y)
    print(name + "_LINE", np.exp([line.intercept, line.slope]).tolist(), line.intercept_stderr, error)
