#!/usr/bin/env bash
# cargo_release.sh ARGUMENT...: cargo for a release: the program has nothing of its builder's paths in it. All that builds
# for a release in target/ goes through this, as other flags would build everything anew.
set -euo pipefail
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=registry"
exec cargo "$@"
