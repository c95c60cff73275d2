# service.sh PROPERTY SCRIPT: another part as a unit of its own with this property.
systemd-run --quiet --pipe --wait --collect --setenv=BENCH="$BENCH" --setenv=OUT="$OUT" --setenv=PATH="$PATH" --setenv=HOME="$HOME" \
	--working-directory="$PWD" -p User=root -p "$1" sh -eu "/in/$2.sh"
