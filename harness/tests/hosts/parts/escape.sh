# Programs that try to get out of a container.
mkdir -p attempts
/in/escape host "$PWD/attempts" "$BENCH" >"$OUT/attempts"
