# run.sh SUITE ENVIRONMENTS WORKLOAD ARGUMENT...: a run at `smoke`, and everything that reads it.
suite=$1 environments=$2 workload=$3
shift 3
$BENCH run --suite "$suite" --profile smoke --size 64MiB --env "$environments" "$@" >"$OUT/summary" 2>"$OUT/progress"
for format in md json csv html; do $BENCH report last --format $format >"$OUT/report.$format"; done
$BENCH report last >"$OUT/report.txt"
other=$(echo "$environments" | tr ',' '\n' | sed -n 's/^\([a-z-]*\).*/\1/p' | sed -n 2p)
$BENCH compare last --env "native,$other" --format md >"$OUT/compare.md"
$BENCH export last --to "$OUT/run.tar.gz" >"$OUT/export"
cp -r bench-runs/* "$OUT/"
# An earlier run of one workload and without the guest. So slow a machine may lose a figure, which compare is to say.
$BENCH run --suite "$suite" --only "$workload" --profile smoke --size 64MiB --env "$(echo "$environments" | sed 's/,vm.*//')" --out earlier >>"$OUT/summary" 2>>"$OUT/progress"
$BENCH compare earlier/* bench-runs/* --format md >"$OUT/compare-runs.md" || [ $? = 1 ]
