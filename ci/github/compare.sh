#!/usr/bin/env bash
# Compare, annotate, and write the summary. The exit code of the comparison is the output `status`: what follows must still happen.
set -euo pipefail

sides=(bench-gate/new.tar.gz --env "${BENCH_PAIR:-}")
if [ -z "${BENCH_PAIR:-}" ]; then
    mkdir -p bench-gate/baseline
    baseline=$(find bench-gate/baseline -name '*.tar.gz' | head -n 1)
    if [ -z "$baseline" ]; then
        echo "There is no baseline to compare with yet: this run becomes it." >> "$GITHUB_STEP_SUMMARY"
        echo "status=0" >> "$GITHUB_OUTPUT"
        exit 0
    fi
    sides=("$baseline" bench-gate/new.tar.gz)
    [ -z "${BENCH_ALLOW_DIFFERENCE:-}" ] || sides+=(--allow-difference "$BENCH_ALLOW_DIFFERENCE")
fi
[ -z "${BENCH_POLICY:-}" ] || sides+=(--policy "$BENCH_POLICY")

status=0
bench compare "${sides[@]}" --report bench-gate/report --format github 2> bench-gate/refusal || status=$?
if [ "$status" = 2 ]; then
    # Refused: nothing was compared, and the reason is all there is to say.
    { echo '## bench compare refuses'; echo '```'; cat bench-gate/refusal; echo '```'; } >> "$GITHUB_STEP_SUMMARY"
    cat bench-gate/refusal >&2
else
    cat bench-gate/report/compare.md >> "$GITHUB_STEP_SUMMARY"
fi
echo "status=$status" >> "$GITHUB_OUTPUT"
