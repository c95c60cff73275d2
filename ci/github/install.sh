#!/usr/bin/env bash
# Build bench from the sources that this action is part of, put it on the path, and install what it measures with.
set -euo pipefail

sources=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CARGO_TARGET_DIR="$RUNNER_TEMP/bench-target" make -C "$sources" build
mkdir -p "$RUNNER_TEMP/bench-bin"
cp "$RUNNER_TEMP/bench-target/release/bench" "$RUNNER_TEMP/bench-bin/bench"
echo "$RUNNER_TEMP/bench-bin" >> "$GITHUB_PATH"

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
"${as_root[@]}" "$RUNNER_TEMP/bench-bin/bench" doctor --install
