#!/usr/bin/env bash
# Fetch the run of the last successful push to the baseline's branch into bench-gate/baseline, where there is one. A branch of a
# fork may have the same name: its pull requests are no pushes to this repository.
set -euo pipefail
# shellcheck source=gh.bash
. "$(dirname "${BASH_SOURCE[0]}")/gh.bash"

mkdir -p bench-gate
rm -rf bench-gate/baseline
if ! command -v gh > /dev/null; then
    annotate error bench "gh, which fetches the baseline, is not installed on this runner: install GitHub's command line tool, or give pair"
    exit 2
fi
# The file's name is unique, the workflow's is not; absent outside of GitHub.
workflow=${GITHUB_WORKFLOW_REF:-$GITHUB_WORKFLOW}
workflow=${workflow%%@*}
workflow=${workflow##*/}
branch=$BENCH_BASELINE_BRANCH
first="no successful run of $GITHUB_WORKFLOW by a push to $branch yet"

if ! persist ask run list --repo "$GITHUB_REPOSITORY" --workflow "$workflow" --branch "$branch" --event push --status success --limit 10 \
    --json databaseId,event,headBranch --jq '.[] | select(.event == "push") | .databaseId'; then
    # The pull request that brings the workflow: the repository does not know it.
    if grep -qiE 'could not find any workflow|workflow .*not found' <<< "$refusal"; then
        echo "bench: $first: the first push makes the baseline"
        exit 0
    fi
    annotate error bench "asking for the last run of $workflow on $branch: $refusal (the token needs the permission actions: read)"
    exit 2
fi
if [ -z "$said" ]; then
    echo "bench: $first: the first one becomes the first baseline"
    exit 0
fi

# The last run may lack the artifact: its job was skipped, or is new.
for run in $said; do
    if persist ask run download "$run" --repo "$GITHUB_REPOSITORY" --name "$BENCH_ARTIFACT" --dir bench-gate/baseline; then
        echo "bench: the baseline is the artifact $BENCH_ARTIFACT of run $run"
        exit 0
    fi
    rm -rf bench-gate/baseline
    if [ -n "$refusal" ] && ! grep -qiE 'no valid artifacts|no artifact matches|not found|expired|HTTP 4(04|10)' <<< "$refusal"; then
        annotate error bench "downloading the artifact $BENCH_ARTIFACT of run $run: $refusal"
        exit 2
    fi
done
# Artifacts expire. A gate that fails for that would be switched off.
annotate warning bench "no run of $workflow on $branch has an artifact $BENCH_ARTIFACT any more: there is no baseline to compare with"
