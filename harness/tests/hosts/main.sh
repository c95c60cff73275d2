# Executed in a host: every part in /in/parts, in order, each in a folder of its own on the root disk, with what it prints and
# leaves in /out/PART. Results are written to the third disk after each, so that a host that hangs still tells what went before.

# once PART SECONDS SCRIPT WORD...: do a part from nothing; its status is in /out/PART/status.
once() {
	part=$1 seconds=$2 script=$3
	shift 3
	rm -rf "/out/$part" "/work/$part"
	mkdir -p "/out/$part" "/work/$part"
	cd "/work/$part" || exit
	began=$(cut -d. -f1 /proc/uptime)
	BENCH=/in/bench OUT=/out/$part timeout --kill-after=10 "$seconds" sh -eu "/in/$script.sh" "$@" >"/out/$part/said" 2>&1 </dev/null
	status=$?
	echo $status >"/out/$part/status"
	echo "host: part $part: status $status after $(($(cut -d. -f1 /proc/uptime) - began)) s" >/dev/console
	tar -C /out -cf /dev/vdc .
}

# The status of a run in which a trial failed or is invalid.
SPOILED=3

# A stall of an emulated machine spoils a trial; and emulated SVM reset one of 17 guests before it said a word (and none of more than 50 since
# they boot on one CPU). Then the part is done again, twice at most.
while read -r part words; do
	for again in 1 2 0; do
		# shellcheck disable=SC2086
		once $part $words
		if [ $again = 0 ] || [ "$status" = 0 ]; then break; fi
		[ "$status" = $SPOILED ] || grep -rqs 'reset itself without a word' "/out/$part" || break
		echo "host: part $part: again, since the emulator spoiled a trial" >/dev/console
	done
done </in/parts
