#!/usr/bin/env bash
# Write the comparison into the one comment that has this job's marker; make that comment where there is none. A token that may not
# comment, as that of a fork's pull request, is a warning: the job's summary says the same.
set -euo pipefail
# shellcheck source=gh.bash
. "$(dirname "${BASH_SOURCE[0]}")/gh.bash"

# GitHub takes 65,536 characters; bytes are never fewer.
most_bytes=65000

[ -f bench-gate/report/compare.md ] || exit 0
marker=$(head -n 1 bench-gate/report/compare.md)
# Two jobs may compare the same suite.
job=${BENCH_ARTIFACT:-${GITHUB_JOB:-}}
if [ -n "$job" ]; then
    job=$(printf '%s' "${GITHUB_WORKFLOW:-} $job" | tr -c 'A-Za-z0-9._ -' '-' | tr -s '-' | cut -c 1-200)
    marker="${marker% -->}; $job -->"
fi
url="${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY/actions/runs/${GITHUB_RUN_ID:-}"
where="the artifact \`${BENCH_ARTIFACT:-bench-run}-report\`"
[ -z "${GITHUB_RUN_ID:-}" ] || where="$where of [this run]($url)"

# Whole lines as long as they fit; what was folded or fenced there ends, too.
{
    printf '%s\n' "$marker"
    tail -n +2 bench-gate/report/compare.md | LC_ALL=C awk -v room=$((most_bytes - ${#marker} - 600)) -v where="$where" '
        used + length($0) + 1 > room { cut = 1 }
        cut { next }
        { used += length($0) + 1; print }
        /^```/ { fenced = !fenced }
        /<details>/ { folds++ }
        /<\/details>/ { folds-- }
        END {
            if (!cut) exit
            if (fenced) print "```"
            while (folds-- > 0) print "\n</details>"
            print "\n_It goes on in " where "._"
        }'
} > bench-gate/comment.md

comments="repos/$GITHUB_REPOSITORY/issues"
# Find the comment and write it; whether it worked. It is called by `persist`.
# shellcheck disable=SC2317
write_comment() {
    ask api --paginate "$comments/$BENCH_PULL_REQUEST/comments" --jq ".[] | select(.body | startswith(\"$marker\")) | .id" || return 1
    local found=${said%%$'\n'*}
    if [ -n "$found" ]; then
        ask api --method PATCH "$comments/comments/$found" --field body=@bench-gate/comment.md
    else
        ask api --method POST "$comments/$BENCH_PULL_REQUEST/comments" --field body=@bench-gate/comment.md
    fi
}

if persist write_comment; then
    exit 0
fi
if is_refused; then
    annotate warning bench "this token may not comment ($refusal): pull requests of forks and of Dependabot have such tokens; the comparison is in the job's summary"
    exit 0
fi
annotate error bench "commenting on pull request $BENCH_PULL_REQUEST: ${refusal:-gh failed}"
exit 2
