# Executed in a host: every part in /in/parts, in order, each in a folder of its own on the root disk, with what it prints and
# leaves in /out/PART. Results are written to the third disk after each, so that a host that hangs still tells what went before.
mkdir -p /out
while read -r part seconds script words; do
	mkdir -p "/out/$part" "/work/$part"
	cd "/work/$part" || exit
	began=$(cut -d. -f1 /proc/uptime)
	# shellcheck disable=SC2086
	BENCH=/in/bench OUT=/out/$part timeout --kill-after=10 "$seconds" sh -eu "/in/$script.sh" $words >"/out/$part/said" 2>&1 </dev/null
	status=$?
	echo $status >"/out/$part/status"
	echo "host: part $part: status $status after $(($(cut -d. -f1 /proc/uptime) - began)) s" >/dev/console
	tar -C /out -cf /dev/vdc .
done </in/parts
