#!/bin/sh
# Everything that this project promises about trust, tried for real, and one table of what came out. Run by `make soak` as root
# on a machine that does nothing else; under an hour.
set -u
cd "$(dirname "$0")/.." || exit
cargo=${CARGO:-cargo}
logs=target/soak
mkdir -p "$logs"
failed=0
began=$(date +%s)

# part NAME COMMAND...: its output goes to a file of its own.
part() {
	name=$1
	shift
	echo "soak: $name: $* (output in $logs/$name.log)" >&2
	"$@" >"$logs/$name.log" 2>&1 || {
		failed=1
		echo "soak: $name failed" >&2
	}
}

# last NAME PATTERN: what stands after the pattern in the output of a part.
last() {
	sed -n "s|^.*$2||p" "$logs/$1.log" | tail -n 1
}

# Built as for `make test`: with other features, half of everything would be built twice.
part kills env BENCH_SOAK_KILLS="${KILLS:-50}" BENCH_SOAK_RESUMES="${RESUMES:-5}" \
	"$cargo" test --workspace --all-features --test kill -- --nocapture
part planted "$cargo" run -q --release -p bench --example planted
part escapes env BENCH_SOAK_STARTS="${STARTS:-10000}" "$cargo" test --workspace --all-features --test escape -- --nocapture
part fuzz fuzz/run.sh "${SECONDS_EACH:-30}"

echo "| tried | what came out |"
echo "|---|---|"
printf '| when and where | %s, in %d minutes, on Linux %s with %d CPUs |\n' \
	"$(date -u +%F)" "$((($(date +%s) - began + 59) / 60))" "$(uname -r)" "$(nproc)"
printf '| killed at random moments |%s |\n' "$(sed -n 's/^kills:\( [0-9]* survived.*\)$/\1/p' "$logs/kills.log")"
sed -n 's/^planted: \(.*\) \([a-z]*\) \([0-9]*\/[0-9]*\)$/| planted ratio \1, found \2 | \3 |/p' "$logs/planted.log"
printf '| false alarms with equal sides |%s |\n' "$(last planted 'a/a: false alarms')"
printf '| escapes |%s |\n' "$(last escapes 'escapes:')"
printf '| random starts |%s |\n' "$(last escapes 'random starts:')"
printf '| fuzz executions |%s |\n' "$(last fuzz 'fuzz executions:')"
exit "$failed"
