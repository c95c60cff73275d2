#!/bin/sh
# Fuzz every target for SECONDS one after another, and say how many executions that were. New inputs grow in
# fuzz/target/corpus; an input that crashes, hangs or takes endless memory is kept in fuzz/target/artifacts: fix it, and add it
# to fuzz/regressions/TARGET. `fuzz/run.sh merge` writes the smallest corpus that reaches the same code into fuzz/corpus.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz
cargo +nightly fuzz build
cargo run -q --example seed -- target/seeds
failed=0
total=0
for target in $(cargo +nightly fuzz list); do
	binary=$(find target -path '*release*' -name "$target" -type f -perm -u+x | head -n 1)
	mkdir -p "target/corpus/$target" "target/seeds/$target" "target/artifacts/$target" "corpus/$target"
	log="target/$target.log"
	if [ "$seconds" = merge ]; then
		# The smallest inputs first; large ones would bloat the repository for what they add.
		mkdir "corpus/.$target.new"
		"$binary" -merge=1 -max_len=8192 "corpus/.$target.new" "corpus/$target" "target/corpus/$target" "target/seeds/$target" \
			2>"$log"
		rm -r "corpus/$target"
		mv "corpus/.$target.new" "corpus/$target"
		printf '%-14s %6d inputs, %d bytes\n' "$target" "$(find "corpus/$target" -type f | wc -l)" \
			"$(find "corpus/$target" -type f -exec cat {} + | wc -c)"
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
