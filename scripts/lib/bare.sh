# shellcheck shell=bash
# Machines on which nothing of this is installed: plain Debian 12 trees in namespaces of their own, with a network of
# their own (slirp4netns) through which APT reaches the mirror. Toolchain, cargo's cache and target/ are the outer
# machine's. Needs log.sh, cache.sh, apt.sh, debian_tree.sh, stages.sh.

BARE_SUITE=bookworm
BARE_VARIANTS='plain backports'

check_bare() {
  local variant
  bare_possible
  bare_base
  mkdir -p "$(cache_dir)/bare/archives/partial" "$(cache_dir)/bare/cache" "${CARGO_TARGET_DIR:-$PWD/target}"
  for variant in ${1:-$BARE_VARIANTS}; do
    say "    a bare machine: $variant"
    bare_tree "$variant"
    bare_run "$variant"
    bare_remove "$(cache_dir)/bare/$variant"
  done
}

bare_possible() {
  [[ $(os_release ID) == debian ]] || skip 'the mirror of this machine has no Debian'
  command -v slirp4netns >/dev/null || skip 'there is no slirp4netns'
  [[ -e /dev/net/tun ]] || skip 'there is no /dev/net/tun for slirp4netns'
  [[ $(command -v cargo) == */.cargo/bin/cargo ]] || skip 'Rust is not of rustup, and cannot be bound into a tree'
}

# How this machine reaches its mirror is how a tree does.
bare_apt_settings() {
  apt-config dump | grep -E '^Acquire::(Check|http|https|Retries|ForceIPv)[^ ]* "[^"]' || true
}

bare_base() {
  local base key work
  base=$(cache_dir)/bare/base
  key=$(cache_key "$(bare_apt_settings) $(tree_sources "$BARE_SUITE") $(apt-cache policy libc6 apt | grep Candidate)" "${BASH_SOURCE[0]}")
  if [[ -f $base.key && $(<"$base.key") == "$key" && -d $base ]]; then
    return 0
  fi
  work=$(cache_scratch bare)
  bare_apt_settings >"$work/settings"
  tree_sources "$BARE_SUITE" >"$work/sources.list"
  quietly mmdebstrap --variant=minbase --format=directory --include=ca-certificates --aptopt="$work/settings" \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$BARE_SUITE" "$work/tree" "$work/sources.list"
  mkdir -p "$(cache_dir)/bare"
  bare_remove "$base"
  mv "$work/tree" "$base"
  echo "$key" >"$base.key"
  rm -rf "$work"
}

# What is mounted below it is so in namespaces that are gone.
bare_remove() {
  rm -rf --one-file-system "$1"
}

# bare_tree VARIANT: a copy of the base, with this source tree at its own place
bare_tree() {
  local tree
  tree=$(cache_dir)/bare/$1
  bare_remove "$tree"
  cp -a --reflink=auto "$(cache_dir)/bare/base" "$tree"
  mkdir -p "$tree$PWD"
  tar --exclude=./target --exclude=./fuzz/target --exclude=./.git --exclude=./web.yaml -c . | tar -x -C "$tree$PWD"
}

# bare_run VARIANT: scripts/lib/bare_enter.sh makes the tree the root of namespaces, and runs bare_inside.sh there.
bare_run() {
  local pid network status=0
  BARE_TREE=$(cache_dir)/bare/$1 BARE_ARCHIVES=$(cache_dir)/bare/archives BARE_CACHE=$(cache_dir)/bare/cache BARE_PROJECT=$PWD \
    BARE_TARGET=${CARGO_TARGET_DIR:-$PWD/target} BARE_CARGO=${CARGO_HOME:-$(dirname "$(dirname "$(command -v cargo)")")} \
    BARE_RUSTUP=${RUSTUP_HOME:-$HOME/.rustup} \
    unshare --mount --net --uts --ipc bash "$SCRIPTS/lib/bare_enter.sh" "$1" </dev/null &
  pid=$!
  # Its own namespaces are there a moment later than the process.
  while [[ -d /proc/$pid && $(readlink "/proc/$pid/ns/net") == "$(readlink /proc/self/ns/net)" ]]; do
    sleep 0.05
  done
  slirp4netns --configure --mtu=65520 "$pid" tap0 >/dev/null 2>&1 &
  network=$!
  wait "$pid" || status=$?
  kill "$network" 2>/dev/null || true
  wait "$network" 2>/dev/null || true
  ((status == 0)) || die "the bare machine '$1' ended with status $status" "its tree: $(cache_dir)/bare/$1"
}
