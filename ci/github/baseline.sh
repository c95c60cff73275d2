#!/usr/bin/env bash
# Fetch the run of the last successful run of this workflow on the baseline's branch into bench-gate/baseline, where there is one.
set -euo pipefail

mkdir -p bench-gate
last=$(gh run list --repo "$GITHUB_REPOSITORY" --workflow "$GITHUB_WORKFLOW" --branch "$BENCH_BASELINE_BRANCH" \
    --status success --limit 1 --json databaseId --jq '.[0].databaseId // empty')
if [ -z "$last" ]; then
    echo "bench: no successful run of $GITHUB_WORKFLOW on $BENCH_BASELINE_BRANCH yet: this one becomes the first baseline"
elif ! gh run download "$last" --repo "$GITHUB_REPOSITORY" --name "$BENCH_ARTIFACT" --dir bench-gate/baseline; then
    # Artifacts expire. A gate that fails for that would be switched off.
    echo "::warning title=bench::the artifact $BENCH_ARTIFACT of run $last cannot be had: there is no baseline to compare with"
fi
