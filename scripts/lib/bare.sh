# shellcheck shell=bash
# Machines on which nothing of this is installed: plain Debian trees in namespaces of their own, with a network of
# their own (slirp4netns) through which APT reaches the mirror. Toolchain, cargo's cache and target/ are the outer
# machine's. They take the program that the run has built; with --full each builds its own, and all is run a second time.
# Needs log.sh, cache.sh, apt.sh, debian_tree.sh, stages.sh, checks.sh.

# plain: Debian 12, and no D-Bus daemon. backports: with qemu-utils from there, and D-Bus. trixie: Debian 13.
BARE_VARIANTS=${BARE_VARIANTS:-plain backports}
# Where slirp4netns has the outer machine's loopback
BARE_OUTER_LOOPBACK=10.0.2.2

# Side by side, as much of it is waiting
check_bare() {
  local variant suite status failed='' pids=() variants
  bare_possible
  BARE_PROGRAM=''
  if [[ -z ${FULL:-} && $(bare_target) != "$(bare_dir)/target" ]]; then
    check_build
    BARE_PROGRAM=$(bare_target)/release/foundry
  fi
  read -r -a variants <<<"$BARE_VARIANTS${FULL:+ trixie}"
  for suite in $(for variant in "${variants[@]}"; do bare_suite "$variant"; done | sort -u); do
    bare_base "$suite"
  done
  mkdir -p "$(bare_target)"
  for variant in "${variants[@]}"; do
    bare_machine "$variant" >"$(bare_dir)/$variant.log" 2>&1 &
    pids+=($!)
  done
  for variant in "${variants[@]}"; do
    status=0
    wait "${pids[0]}" || status=$?
    pids=("${pids[@]:1}")
    bare_tell "$variant" "$status"
    ((status == 0)) || failed+=" $variant"
  done
  [[ -z $failed ]] || die "a bare machine failed:$failed" "the trees and what they wrote: $(bare_dir)"
}

# What the newer verbs do with the libvirt and QEMU of Debian 12 itself, on a bare machine. The live tests of a run are on
# newer ones.
check_libvirt9() {
  local cache
  bare_possible
  [[ $(os_release VERSION_CODENAME) == bookworm ]] || skip 'what is built here does not run on Debian 12'
  cargo test --no-run --quiet --test live
  BARE_PROGRAM=''
  bare_base bookworm
  cache=$(bare_dir)/kept-libvirt9/cache
  mkdir -p "$cache"
  cp "$(cache_dir)"/{tiny.qcow2,id_ed25519,id_ed25519.pub} "$cache/"
  bare_machine libvirt9
}

# Beside the live tests, which go first
check_bare_beside() {
  renice -n 5 -p "$BASHPID" >/dev/null
  check_bare
}

bare_dir() {
  echo "$(cache_dir)/bare"
}

bare_suite() {
  [[ $1 == trixie ]] && echo trixie || echo bookworm
}

# What was built with a newer C library does not run in the tree.
bare_target() {
  if [[ $(os_release VERSION_CODENAME) == bookworm ]]; then
    echo "${CARGO_TARGET_DIR:-$PWD/target}"
  else
    echo "$(bare_dir)/target"
  fi
}

bare_cargo_home() {
  echo "${CARGO_HOME:-$HOME/.cargo}"
}

# Where rustc and cargo are, of rustup or not
bare_sysroot() {
  rustc --print sysroot
}

bare_possible() {
  local sysroot
  [[ $(os_release ID) == debian ]] || skip 'the mirror of this machine has no Debian'
  command -v slirp4netns >/dev/null || skip 'there is no slirp4netns'
  command -v mmdebstrap >/dev/null || skip 'there is no mmdebstrap'
  [[ -e /dev/net/tun ]] || skip 'there is no /dev/net/tun for slirp4netns'
  unshare --mount --net --uts --ipc --pid --fork mount -t tmpfs tmpfs /mnt 2>/dev/null \
    || skip 'this container may not make namespaces, or not mount in them'
  sysroot=$(bare_sysroot)
  bare_mirror_answers || skip "the mirror of this machine does not answer: $(apt_mirror Debian)"
  [[ $sysroot != /usr && -x $sysroot/bin/cargo ]] || skip 'Rust is of the distribution, and cannot be bound into a tree'
}

bare_mirror_answers() {
  local file status=0
  [[ -n $(apt_mirror Debian) ]] || apt_update || return 1
  file=$(mktemp)
  /usr/lib/apt/apt-helper download-file "$(apt_mirror Debian)dists/bookworm/InRelease" "$file" >/dev/null 2>&1 || status=$?
  rm -f "$file"
  return "$status"
}

# How this machine reaches its mirror is how a tree does.
bare_apt_settings() {
  apt-config dump | grep -E '^Acquire::(Check|http|https|Retries|ForceIPv)[^ ]* "[^"]' || true
}

# What this machine has at its loopback has another address in a tree.
bare_outer() {
  sed -E "s,//(localhost|127\.0\.0\.1|\[::1\])([:/\"]),//$BARE_OUTER_LOOPBACK\2,g"
}

# bare_base SUITE: made once; the trees are copies.
bare_base() {
  local base key work
  base=$(bare_dir)/base-$1
  key=$(cache_key "$(bare_apt_settings) $(tree_sources "$1") $(apt-cache policy libc6 apt | grep Candidate)" "${BASH_SOURCE[0]}")
  if [[ -f $base.key && $(<"$base.key") == "$key" && -d $base ]]; then
    return 0
  fi
  say "    making a plain tree of $1"
  work=$(cache_scratch "bare-$1")
  { bare_apt_settings && echo 'Acquire::Languages "none";'; } >"$work/settings"
  tree_sources "$1" >"$work/sources.list"
  quietly mmdebstrap --variant=minbase --format=directory --include=ca-certificates --aptopt="$work/settings" \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$1" "$work/tree" "$work/sources.list"
  find "$work/tree/etc/apt" -type f \( -name '*.list' -o -name 99mmdebstrap \) | while IFS= read -r file; do
    bare_outer <"$file" >"$work/file" && cat "$work/file" >"$file"
  done
  bare_files_of_settings "$work/tree"
  mkdir -p "$(bare_dir)"
  bare_remove "$base"
  mv "$work/tree" "$base"
  echo "$key" >"$base.key"
  rm -rf "$work"
}

# bare_files_of_settings TREE: certificates and keys that APT's settings name, and the authorities that this machine trusts
bare_files_of_settings() {
  local file
  bare_apt_settings | sed -n 's/.* "\(\/[^"]*\)";$/\1/p' | while IFS= read -r file; do
    [[ ! -f $file ]] || install -D -m 644 "$file" "$1$file"
  done
  [[ ! -f /etc/ssl/certs/ca-certificates.crt ]] || cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
}

# What is mounted below it is so in namespaces that are gone.
bare_remove() {
  rm -rf --one-file-system "$1"
}

# bare_machine VARIANT: a copy of its base, used and taken away. What failed stays to be looked at.
bare_machine() {
  bare_tree "$1"
  bare_run "$1"
  bare_remove "$(bare_dir)/$1"
}

# bare_tell VARIANT STATUS: how long the steps took, or what was said before it failed
bare_tell() {
  if (($2 == 0)); then
    say "    the bare machine '$1':" "$(sed -n 's/^bare, [a-z]*: /      /p' "$(bare_dir)/$1.log")"
  else
    say "    the bare machine '$1' failed:"
    tail -n 80 "$(bare_dir)/$1.log" >&2
  fi
}

# bare_tree VARIANT: with this source tree at its own place. Two machines at once must not share what APT and the builds
# of guests lock, or write.
bare_tree() {
  local tree kept
  tree=$(bare_dir)/$1
  kept=$(bare_dir)/kept-$1
  bare_remove "$tree"
  mkdir -p "$kept/archives/partial" "$kept/cache"
  # What was superseded would stay for ever.
  find "$kept/archives" -name '*.deb' -ctime +60 -delete
  cp -a --reflink=auto "$(bare_dir)/base-$(bare_suite "$1")" "$tree"
  mkdir -p "$tree$PWD"
  tar --exclude=./target --exclude=./.ci/fuzz/target --exclude=./.git --exclude=./web.yaml -c . | tar -x -C "$tree$PWD"
}

# bare_run VARIANT: scripts/lib/bare_enter.sh makes the tree the root of namespaces, and runs bare_inside.sh there, or
# bare_live.sh.
bare_run() {
  local pid network status=0
  BARE_TREE=$(bare_dir)/$1 BARE_KEPT=$(bare_dir)/kept-$1 BARE_PROJECT=$PWD BARE_TARGET=$(bare_target) \
    BARE_CARGO=$(bare_cargo_home) BARE_SYSROOT=$(bare_sysroot) BARE_PROGRAM=$BARE_PROGRAM BARE_FULL=${FULL:-} BARE_OUTER_LOOPBACK=$BARE_OUTER_LOOPBACK \
    unshare --mount --net --uts --ipc bash "$SCRIPTS/lib/bare_enter.sh" "$1" </dev/null &
  pid=$!
  # Its own namespaces are there a moment later than the process.
  while [[ -d /proc/$pid && $(readlink "/proc/$pid/ns/net") == "$(readlink /proc/self/ns/net)" ]]; do
    sleep 0.05
  done
  slirp4netns --configure --mtu=65520 "$pid" tap0 >"$(bare_dir)/$1.network" 2>&1 &
  network=$!
  wait "$pid" || status=$?
  kill "$network" 2>/dev/null || true
  wait "$network" 2>/dev/null || true
  ((status == 0)) || die "the bare machine '$1' ended with status $status" "its network: $(tail -n 3 "$(bare_dir)/$1.network")"
}
