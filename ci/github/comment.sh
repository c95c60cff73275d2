#!/usr/bin/env bash
# Write the comparison into the one comment that has its marker; make that comment where there is none.
set -euo pipefail

[ -f bench-gate/report/compare.md ] || exit 0
marker=$(head -n 1 bench-gate/report/compare.md)
comments="repos/$GITHUB_REPOSITORY/issues"
found=$(gh api --paginate "$comments/$BENCH_PULL_REQUEST/comments" --jq ".[] | select(.body | startswith(\"$marker\")) | .id" | head -n 1)
if [ -n "$found" ]; then
    gh api --method PATCH "$comments/comments/$found" --field body=@bench-gate/report/compare.md > /dev/null
else
    gh api --method POST "$comments/$BENCH_PULL_REQUEST/comments" --field body=@bench-gate/report/compare.md > /dev/null
fi
