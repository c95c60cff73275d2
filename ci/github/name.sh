#!/usr/bin/env bash
# Name the artifact: each job of a workflow, and each job of a matrix, has one of its own. It is the same in every run of the
# workflow, since a baseline is found again by it. The output is `artifact`.
set -euo pipefail

plain() { tr -c 'A-Za-z0-9._-' '-' | tr -s '-' | cut -c 1-100; }
name=$(printf '%s' "${BENCH_ARTIFACT:-bench-run}-${GITHUB_JOB:-job}" | plain)
# The matrix as JSON; `null` or empty where there is none. What two of its jobs have alike in plain letters, the digest tells apart.
matrix=${BENCH_MATRIX:-null}
if [ "$matrix" != null ] && [ "$matrix" != '{}' ]; then
    values=$(printf '%s' "$matrix" | tr -d '{}"\n' | sed 's/[^,:]*://g' | plain)
    digest=$(printf '%s' "$matrix" | sha256sum | cut -c 1-8)
    name=$(printf '%s' "$name-$values-$digest" | tr -s '-')
fi
echo "artifact=$name" >> "$GITHUB_OUTPUT"
