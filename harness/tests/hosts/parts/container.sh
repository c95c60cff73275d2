# Limits, read back from inside; and where bench itself is.
cat /proc/self/cgroup >"$OUT/own-group"
$BENCH container run --memory 64MiB --cpus 1.5 --pids 50 --cpuset 0 -- \
	sh -c 'cd /sys/fs/cgroup && cat memory.max cpu.max pids.max cpuset.cpus.effective' >"$OUT/limits"
$BENCH container run --net nat -- sh -c 'ip addr; hostname; id -u' >"$OUT/inside"
