#!/usr/bin/env bash
# Execute the run, and pack it: the archive is the baseline of later runs.
set -euo pipefail

# Split $1 into the array `arguments` as a shell would, and expand nothing: words over any number of lines, '...', "...", \ and
# comments.
split() {
    local text=${1//$'\r\n'/$'\n'} word='' has_word='' quote='' char next at
    arguments=()
    for ((at = 0; at < ${#text}; at++)); do
        char=${text:at:1} next=${text:at+1:1}
        if [ "$quote" = "'" ]; then
            if [ "$char" = "'" ]; then quote=''; else word+=$char; fi
        elif [ "$char" = \\ ] && { [ -z "$quote" ] || [[ $next == [\\\"\$\`$'\n'] ]]; }; then
            at=$((at + 1))
            # At the end of a line, or of everything: the line goes on.
            [[ $next == $'\n' || -z $next ]] || { word+=$next has_word=yes; }
        elif [ -n "$quote" ]; then
            if [ "$char" = '"' ]; then quote=''; else word+=$char; fi
        elif [[ $char == [\'\"] ]]; then
            quote=$char has_word=yes
        elif [[ $char == [[:space:]] ]]; then
            [ -z "$has_word" ] || arguments+=("$word")
            word='' has_word=''
        elif [ "$char" = '#' ] && [ -z "$has_word" ]; then
            while [ $((at + 1)) -lt ${#text} ] && [ "${text:at+1:1}" != $'\n' ]; do at=$((at + 1)); done
        else
            word+=$char has_word=yes
        fi
    done
    if [ -n "$quote" ]; then
        echo "::error title=bench::the input arguments has an opening $quote that is never closed: close it, or put a backslash before it" >&2
        return 1
    fi
    [ -z "$has_word" ] || arguments+=("$word")
}

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo env "PATH=$PATH")
split "${BENCH_ARGUMENTS:-}" || exit 2
mkdir -p bench-gate
rm -rf bench-gate/runs bench-gate/new.tar.gz bench-gate/run-status
# 3: some trials failed or are invalid. They are in no number, and a row that lacks numbers for that fails the comparison.
status=0
"${as_root[@]}" bench run --out bench-gate/runs "${arguments[@]}" || status=$?
[ "$status" = 0 ] || [ "$status" = 3 ] || exit "$status"
echo "$status" > bench-gate/run-status
bench export last --out bench-gate/runs --to bench-gate/new.tar.gz
