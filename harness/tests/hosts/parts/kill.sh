# A run is killed during a guest's trial; what it leaves is undone, and it goes on to its end.
$BENCH run --suite io --only rand-read --profile smoke --size 64MiB --env native,vm:accel=kvm --no-control >"$OUT/summary" 2>"$OUT/progress" &
pid=$!
tries=0
until ls -d bench-runs/*/raw/b01-rand-read-vm >/dev/null 2>&1; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] || exit 9
	sleep 0.5
done
kill -9 $pid
wait $pid || :
ls -d bench-runs/*/raw/* >"$OUT/at-the-kill"
$BENCH clean >"$OUT/clean" 2>&1
sh /in/left.sh >"$OUT/left-after-clean"
$BENCH run --resume last >"$OUT/resumed" 2>&1
cp -r bench-runs/* "$OUT/"
