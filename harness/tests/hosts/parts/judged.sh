# Three short blocks of one workload: the fewest that are judged.
cat >short.toml <<'SUITE'
name = "short"
title = "three short blocks"
environments = ["native"]

[[workload]]
name = "rand-read-qd1"
title = "random read"
deciding = "iops"
pattern = "random-read"
block-size = "4KiB"
iodepth = 1
jobs = 1

[[profile]]
name = "three"
blocks = 3
runtime = "2s"
warm-up = "4s"
settle = "2s"
size = "64MiB"
margin = "10%"
verdicts = true
SUITE
status=0
$BENCH run --suite short.toml --profile three --env native,vm:accel=kvm --no-control >"$OUT/summary" 2>"$OUT/progress" || status=$?
$BENCH report last --format json >"$OUT/report.json"
$BENCH report last --format md >"$OUT/report.md"
cp -r bench-runs/* "$OUT/"
exit $status
