#!/bin/sh
# Makes the golden files of `bench import` with the fio and iperf3 that are installed. Takes ports 5999, 8765 and 8766 of the loopback device.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
servers=
trap 'for pid in $servers; do kill "$(cat "$pid")" 2>/dev/null || true; done; rm -rf "$work"' EXIT
cd "$work"

# Two sections, one after the other, and what fio prints of both meanwhile.
cat > interim.job <<JOB
[global]
ioengine=psync
filename=target
size=1M
bs=4k
rw=randread
time_based=1
thinktime=2000
percentile_list=50:99
[first]
runtime=1500ms
[second]
stonewall=1
runtime=1500ms
JOB
fio --output-format=json --status-interval=1 interim.job > "$here/fio-interim.json" 2>&1

# Status lines before the result, each over the one before.
fio --output-format=normal,json --eta=always --percentile_list=50 --name=watched --ioengine=psync --filename=target --size=1M --bs=4k \
    --rw=randread --time_based --runtime=1 --thinktime=2000 > "$here/fio-eta.out" 2>&1

# Two sections of one name, and one that does no I/O.
fio --output-format=json --percentile_list=50 --filename=target --size=400k --bs=4k --ioengine=psync --name=x --rw=read \
    --name=x --rw=randread --name=cpu --ioengine=cpuio --cpuload=20 --runtime=200ms --time_based > "$here/fio-one-name.json" 2>&1

# Two hosts.
cat > client.job <<JOB
[global]
ioengine=psync
filename=$work/target
size=400k
bs=4k
rw=read
percentile_list=50
[one]
[two]
rw=randread
JOB
for server in 127.0.0.1,8765 localhost,8766; do
    fio --server=$server --daemonize="$work/$server.pid" > /dev/null
    servers="$servers $work/$server.pid"
done
sleep 1
fio --output-format=json --client=127.0.0.1,8765 client.job --client=localhost,8766 client.job 2>&1 | sed -e "s|$work/||" -e "s/^<[^>]*>/<host>/" > "$here/fio-client.json"

for args in "--bidir -b 50M=bidir" "-u -b 10M=udp"; do
    iperf3 -s -p 5999 -1 -D
    sleep 1
    iperf3 -c 127.0.0.1 -p 5999 -t 1 --json ${args%=*} | sed "s/Linux [^ ]* /Linux host /" > "$here/iperf3-${args#*=}.json"
done
