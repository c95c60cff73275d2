#!/bin/sh
# Makes the golden files with the fio that is installed. Needs root (a small file system is mounted) and a disk beneath $1.
# OTHER_FIOS: paths of fios of other versions, for good-VERSION.out.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${1:-/var/tmp}/fio-golden.XXXXXX")
trap 'umount "$work/small" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
common="--output-format=json+ --ioengine=libaio --direct=1 --bs=4096 --size=1MiB"

cat > good.job <<JOB
[global]
ioengine=libaio
direct=1
filename=target
size=4MiB
bs=4096
rw=randrw
rwmixread=70
iodepth=4
numjobs=2
time_based=1
group_reporting=1
randseed=7
[warm-up]
runtime=50ms
[measured]
stonewall=1
runtime=100ms
JOB
fio --output-format=json+ good.job > "$here/good.out" 2>&1
fio $common --name=failed --rw=read --filename=/dev/null/file > "$here/failed.out" 2>&1 || true
mkdir small && mount -t tmpfs -o size=512k tmpfs small
fio --output-format=json+ --ioengine=psync --bs=4096 --size=1MiB --fallocate=none --name=full --rw=write --filename=small/file > "$here/full.out" 2>&1 || true
mount -o remount,ro small
fio --output-format=json+ --ioengine=psync --bs=4096 --size=4096 --name=readonly --rw=write --filename=small/file > "$here/readonly.out" 2>&1 || true
fio $common --name=killed --rw=randread --filename=target --time_based --runtime=20 > "$here/sigint.out" 2>&1 & pid=$!
sleep 1; kill -INT $pid; wait $pid || true
fio $common --name=killed --rw=randread --filename=target --time_based --runtime=3 > "$here/sigkill.out" 2>&1 & pid=$!
sleep 1; kill -KILL $pid; wait $pid || true

sed -e 's/libaio/psync/; s/^size=.*/size=1MiB/; s/^rw=.*/rw=randread/; /^direct/d; /^rwmixread/d; /^iodepth/d' \
    -e 's/=50ms/=20ms/; s/=100ms/=40ms/' good.job > other.job
for fio in ${OTHER_FIOS:-}; do
    "$fio" --output-format=json+ other.job > "$here/good-$("$fio" --version | sed 's/^fio-//').out" 2>&1
done
