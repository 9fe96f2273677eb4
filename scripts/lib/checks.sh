# shellcheck shell=bash
# The checks that scripts/test.sh runs as stages, in the repository's root. Needs the other libraries.

check_fmt() {
  cargo fmt --all --check
}

check_clippy() {
  CLIPPY_CONF_DIR=$PWD/.ci cargo clippy --quiet --workspace --all-targets -- -D warnings
}

check_doc() {
  RUSTDOCFLAGS=-Dwarnings cargo doc --quiet --workspace --no-deps
}

check_shellcheck() {
  find scripts .ci src -type f \( -name '*.sh' -o -path .ci/run \) -exec shellcheck -x {} +
}

# That it can be read; what its recipes do is tests/live/just.rs.
check_justfile() {
  PATH=$(tools_dir):$PATH just --justfile examples/justfile --summary
}

check_deny() {
  PATH=$(tools_dir):$PATH cargo deny --log-level error --config .ci/deny.toml check bans licenses sources
}

# The database is a git repository, which is not everywhere within reach.
check_advisories() {
  compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-db*/*" >/dev/null \
    || skip 'no advisory database here (cargo deny fetch db gets one)'
  PATH=$(tools_dir):$PATH cargo deny --offline --log-level error --config .ci/deny.toml check advisories
}

# Each target for a while, from the inputs that earlier runs found. libFuzzer needs options of rustc's that are
# nightly's; the stable compiler has them, too, and RUSTC_BOOTSTRAP lets them through.
check_fuzz() {
  local target kept
  command -v c++ >/dev/null || skip 'there is no C++ compiler for libFuzzer'
  tool_cargo_fuzz
  export PATH RUSTC_BOOTSTRAP=1
  PATH=$(tools_dir):$PATH
  # Not the folder of the tests, whose compiler options are others. No sanitizer: what is fuzzed has no unsafe code.
  export CARGO_TARGET_DIR=$PWD/.ci/fuzz/target
  for target in $(cargo fuzz list --fuzz-dir .ci/fuzz); do
    kept=$(cache_dir)/fuzz/$target
    mkdir -p "$kept"
    nice -n 19 cargo fuzz run --fuzz-dir .ci/fuzz --sanitizer none "$target" "$kept" -- -max_total_time="${FUZZ_SECONDS:-10}" -verbosity=0 -print_final_stats=1
  done
}

# Hostile manifests in far greater numbers than the unit tests have, by the same program: for an optimized one all would be
# compiled a third time.
check_hostile() {
  FOUNDRY_TEST_CASES=${HOSTILE_CASES:-100000} cargo test --quiet --test pure hostile_manifests:: -- --nocapture
}

check_build() {
  scripts/lib/cargo_release.sh build --quiet --release
}

# Everything that needs no virtual machine. The live tests are compiled with the others, so that neither processor waits for
# the last program. The documentation's examples are a run of their own in cargo, which compiles while the others run.
check_unit() {
  local TEST_THREADS examples status=0
  TEST_THREADS=$(nproc)
  cargo test --no-run --quiet --workspace --lib --bins --examples --test pure --test live
  cargo test --quiet --workspace --doc >"$STAGE_DIR/$STAGE.examples" 2>&1 &
  examples=$!
  cargo test --no-fail-fast --workspace --lib --bins --examples --test pure -- --test-threads="$TEST_THREADS" 2>&1 | tests_timed quietly || status=$?
  wait "$examples" || status=$?
  cat "$STAGE_DIR/$STAGE.examples"
  return "$status"
}

# One after the other; those of the other lane are check_live_own_host's.
check_live() {
  local modules
  read -r -a modules <<<"$(live_lane machine)"
  cargo test --test live -- --test-threads=1 "${modules[@]}" 2>&1 | tests_timed
}

# These need no machine, only a libvirtd: they have one of their own, in namespaces, beside the machine's, as a guest
# keeps one core busy. Both lanes take about as long.
LIVE_OWN_HOST=' adopt causes clone connections console cost create daemon destroy disks garm gc images inventory kill neighbours pools power refusals rename repave runner secrets snapshot socket_keeper storage uninstall views warm whois xml_patch '

# live_lane machine|own: the modules of tests/live in that lane. Where no namespaces can be made, all are the machine's.
live_lane() {
  local path name lane own=''
  ! unshare --mount --net --uts --pid --fork --mount-proc true 2>/dev/null || own=$LIVE_OWN_HOST
  for path in tests/live/*.rs; do
    name=$(basename "$path" .rs)
    lane=machine
    [[ $own != *" $name "* ]] || lane=own
    [[ $lane != "$1" ]] || printf 'live::%s:: ' "$name"
  done
}

# By tests/support/private_host.sh, as tests/support/private_host.rs starts it: it ends when nobody holds its input. What a
# shell runs in the background ignores SIGINT, and so would each foundry that is to be interrupted.
check_live_own_host() {
  local modules host hold cargo_home=${CARGO_HOME:-$HOME/.cargo} rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
  read -r -a modules <<<"$(live_lane own)"
  ((${#modules[@]} > 0)) || skip 'no namespaces can be made here: they run on the machine'\''s own libvirtd'
  cargo test --no-run --quiet --test live
  host=$(mktemp -d /var/tmp/foundry-test-lane.XXXXXX)
  chmod 755 "$host"
  mkfifo "$STAGE_DIR/$STAGE.hold"
  exec {hold}<>"$STAGE_DIR/$STAGE.hold"
  CARGO_HOME=$cargo_home RUSTUP_HOME=$rustup_home FOUNDRY_TEST_BRIDGE=br0 \
    unshare --mount --net --uts --pid --fork --kill-child --mount-proc \
    bash tests/support/private_host.sh "$host" env --default-signal cargo test --test live -- --test-threads=1 "${modules[@]}" \
    <"$STAGE_DIR/$STAGE.hold" {hold}>&- 2>&1 | tests_timed
}

# check_quickstart IMAGE
check_quickstart() {
  local kvm=()
  case ${OPEN_KVM:-} in
    yes) kvm=(--open-kvm) ;;
    no) kvm=(--no-open-kvm) ;;
  esac
  scripts/quickstart.sh --prefix "$TEST_PREFIX" "${kvm[@]}" "$1"
}

# What is still there now was forgotten by somebody: tests and quickstart clean up after themselves.
check_leaks() {
  local found
  found=$(leftovers)
  ! bridge_exists "$QUICKSTART_BRIDGE" || found+=$'\n'"bridge $QUICKSTART_BRIDGE"
  [[ -z $found ]] || {
    printf 'left on this machine:\n%s\n' "$found"
    return 1
  }
}
