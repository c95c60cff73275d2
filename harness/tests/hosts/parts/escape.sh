# Programs that try to get out of a container, and hostile root folders; few random ones, since each start takes half a second here.
mkdir -p attempts
BENCH_SOAK_STARTS=50 /in/escape host "$PWD/attempts" "$BENCH" >"$OUT/attempts"
