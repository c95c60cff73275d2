# A guest under KVM on the host's own kernel; then guests that no accelerator would boot.
clock=/sys/devices/system/clocksource/clocksource0/current_clocksource
uname -r >"$OUT/host-kernel"
$BENCH vm run --verbose --options accel=kvm -- sh -c "uname -r; cat $clock" >"$OUT/guest" 2>"$OUT/boot"
$BENCH vm run --verbose --options accel=kvm:machine=microvm -- sh -c "cat $clock; ls /sys/bus/pci/devices" >"$OUT/micro" 2>"$OUT/micro-boot"
set +e
$BENCH vm run --memory 64MiB --options accel=kvm -- true 2>"$OUT/small"
echo $? >>"$OUT/small"
$BENCH vm run --options accel=kvm:boot-timeout=1s -- true 2>"$OUT/hasty"
echo $? >>"$OUT/hasty"
set -e
$BENCH doctor --kvm >"$OUT/doctor.txt"
