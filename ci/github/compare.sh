#!/usr/bin/env bash
# Compare, annotate, and write the summary. The exit code of the comparison is the output `status`: what follows must still happen.
set -euo pipefail

# Of an earlier job on the same runner.
rm -rf bench-gate/report
run_status=0
[ ! -f bench-gate/run-status ] || run_status=$(cat bench-gate/run-status)

sides=(bench-gate/new.tar.gz --env "${BENCH_PAIR:-}")
if [ -z "${BENCH_PAIR:-}" ]; then
    mkdir -p bench-gate/baseline
    baseline=$(find bench-gate/baseline -name '*.tar.gz' -print -quit)
    if [ -z "$baseline" ]; then
        said="There is no baseline to compare with yet: the run of a push to ${BENCH_BASELINE_BRANCH:-main} becomes it, if its job succeeds."
        if [ "$run_status" != 0 ]; then
            # No comparison looks at this run, and as a baseline it would fail what is compared with it.
            said+=" Trials of this run failed or are invalid: run the job again, or leave out what fails (--env, --only)."
            echo "::error title=bench::trials failed or are invalid, and there is no baseline to judge the rest by"
        fi
        echo "$said" >> "$GITHUB_STEP_SUMMARY"
        echo "status=$run_status" >> "$GITHUB_OUTPUT"
        exit 0
    fi
    sides=("$baseline" bench-gate/new.tar.gz)
    [ -z "${BENCH_ALLOW_DIFFERENCE:-}" ] || sides+=(--allow-difference "$BENCH_ALLOW_DIFFERENCE")
fi
[ -z "${BENCH_POLICY:-}" ] || sides+=(--policy "$BENCH_POLICY")

status=0
bench compare "${sides[@]}" --report bench-gate/report --format github 2> bench-gate/refusal || status=$?
cat bench-gate/refusal >&2
if [ -f bench-gate/report/compare.md ]; then
    cat bench-gate/report/compare.md >> "$GITHUB_STEP_SUMMARY"
else
    # Nothing was compared, and the reason is all there is to say.
    { echo '## bench compare refuses'; echo '```'; cat bench-gate/refusal; echo '```'; } >> "$GITHUB_STEP_SUMMARY"
    [ "$status" != 0 ] || status=2
fi
echo "status=$status" >> "$GITHUB_OUTPUT"
