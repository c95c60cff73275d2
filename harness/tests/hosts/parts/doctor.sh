# What the machine is said to have.
$BENCH doctor --json >"$OUT/doctor.json"
$BENCH doctor >"$OUT/doctor.txt"
