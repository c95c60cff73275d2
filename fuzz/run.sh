#!/bin/sh
# Fuzz every target for SECONDS one after another, and say how many executions that were. New inputs grow in
# fuzz/target/corpus; an input that crashes, hangs or takes endless memory is kept in fuzz/target/artifacts: fix it, and add it
# to fuzz/regressions/TARGET. `fuzz/run.sh merge` writes a small corpus into fuzz/corpus: what is whole and valid, and a
# sample of the inputs that together reach all code that was reached.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz
cargo +nightly fuzz build
cargo run -q --example seed -- target/seeds

# keep MERGED CORPUS: sixty inputs of all lengths up to 2 KiB, and the seeds, but for those whose originals are tested elsewhere.
keep() {
	rm -rf "$2" && mkdir -p "$2"
	find "target/seeds/$target" -type f -size -24k -exec cp {} "$2" \;
	step=$((($(find "$1" -type f -size -5 | wc -l) + 59) / 60))
	find "$1" -type f -size -5 -printf '%s %f\n' | sort -n | awk -v step="$step" 'NR % step == 0 { print $2 }' |
		while read -r name; do cp "$1/$name" "$2/$name"; done
	printf '%-14s %6d inputs, %d bytes\n' "$target" "$(find "$2" -type f | wc -l)" "$(cat "$2"/* | wc -c)"
}

failed=0
total=0
for target in $(cargo +nightly fuzz list); do
	binary=$(find target -path '*release*' -name "$target" -type f -perm -u+x | head -n 1)
	mkdir -p "target/corpus/$target" "target/seeds/$target" "target/artifacts/$target" "corpus/$target"
	log="target/$target.log"
	if [ "$seconds" = merge ]; then
		merged=target/merged/$target
		rm -rf "$merged" && mkdir -p "$merged"
		"$binary" -set_cover_merge=1 -max_len=45000 "$merged" "target/seeds/$target" "corpus/$target" "target/corpus/$target" 2>"$log"
		keep "$merged" "corpus/$target"
		continue
	fi
	if ! "$binary" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=60 -print_final_stats=1 -max_len=45000 \
		-artifact_prefix="target/artifacts/$target/" "target/corpus/$target" "corpus/$target" "target/seeds/$target" \
		2>"$log"; then
		failed=1
		grep -m 3 -E 'panicked|ERROR|SUMMARY' "$log" || tail -n 3 "$log"
	fi
	executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
	printf '%-14s %10d executions\n' "$target" "${executions:-0}"
	total=$((total + ${executions:-0}))
done
[ "$seconds" = merge ] || printf 'fuzz executions: %d, crashes: %d\n' "$total" \
	"$(find target/artifacts -type f ! -name 'slow-unit-*' | wc -l)"
exit $failed
