# A job file of fio with io_uring, as it is, in a guest as well.
cat >uring.fio <<'JOB'
[global]
ioengine=io_uring
direct=1
bs=4k
size=64m
runtime=3
time_based

[reads]
rw=randread
iodepth=8

[mixed]
stonewall
rw=randrw
rwmixread=70
iodepth=4
JOB
$BENCH run --fio-job uring.fio --profile smoke --env native,container,vm:accel=kvm --no-control >"$OUT/summary" 2>"$OUT/progress"
$BENCH report last >"$OUT/report.txt"
cp -r bench-runs/* "$OUT/"
