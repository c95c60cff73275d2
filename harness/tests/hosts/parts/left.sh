# What is still there of ours: nothing may be.
find /sys/fs/cgroup -type d -name 'bench*'
grep -E '/bench-|bench-runs' /proc/self/mountinfo || :
ls -d /run/bench-* /dev/shm/bench-* /tmp/bench-* "$HOME"/.local/state/bench/ledgers/* /var/lib/bench/ledgers/* 2>/dev/null || :
losetup --all --noheadings --list 2>/dev/null || :
ip -o link | grep -v ' lo:' | grep -E 'bench|port|veth|tap' || :
ip netns list
for folder in /proc/[0-9]*; do
	words=$(cat "$folder/cmdline" 2>/dev/null | tr "\0" " ")
	case $words in */bench-[0-9]* | *qemu-system* | fio\ *) echo "process $words" ;; esac
done
