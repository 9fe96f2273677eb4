#!/usr/bin/env bash
# bare_enter.sh VARIANT: in fresh mount, net, uts and ipc namespaces, makes BARE_TREE the root directory (by pivot_root:
# in a chroot libvirt cannot make the /dev of its QEMUs) and runs bare_inside.sh or bare_live.sh as the first process
# there.
# Needs the variables that scripts/lib/bare.sh sets.
set -euo pipefail

# slirp4netns, outside, makes the interface.
wait_for_network() {
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    [[ ! -e /proc/sys/net/ipv4/conf/tap0 ]] || return 0
    sleep 0.1
  done
  echo 'slirp4netns made no interface tap0 within 20 s' >&2
  exit 1
}

# node NAME MODE: a device as the outer machine has one. Where none can be made, that one is bound in, but for KVM, whose
# mode is changed here.
node() {
  [[ -e /dev/$1 ]] || return 0
  mkdir -p "$(dirname "dev/$1")"
  if ! mknod -m "$2" "dev/$1" c "0x$(stat -c %t "/dev/$1")" "0x$(stat -c %T "/dev/$1")" 2>/dev/null && [[ $1 != kvm ]]; then
    : >"dev/$1"
    mount --bind "/dev/$1" "dev/$1"
  fi
}

# No udev: so /dev/kvm is as the kernel makes it.
make_devices() {
  local name
  mount -t tmpfs -o mode=755 tmpfs dev
  for name in null zero full random urandom tty net/tun; do
    node "$name" 666
  done
  node kvm 600
  mkdir -p dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
  mount -t tmpfs tmpfs dev/shm
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
}

# bind FROM TO
bind() {
  mkdir -p ".$2"
  mount --bind "$1" ".$2"
}

mount --make-rprivate /
mount --bind "$BARE_TREE" "$BARE_TREE"
cd "$BARE_TREE"
wait_for_network
make_devices
mount -t tmpfs -o mode=755 tmpfs run
mount -t sysfs sysfs sys
bind "$BARE_TARGET" "$BARE_TARGET"
bind "$BARE_CARGO" "$BARE_CARGO"
bind "$BARE_SYSROOT" "$BARE_SYSROOT"
bind "$BARE_KEPT/archives" /var/cache/apt/archives
bind "$BARE_KEPT/cache" /root/.cache/foundry-test
hostname "bare-$1"
# The mirror may be known by the outer machine's file only.
{
  printf '127.0.0.1 localhost\n127.0.1.1 bare-%s\n' "$1"
  grep -vE '^[[:space:]]*(#|$|127\.|::1|fe|ff)' /etc/hosts || true
} >etc/hosts
# slirp4netns's own, which asks the outer machine's
echo 'nameserver 10.0.2.3' >etc/resolv.conf
# The outer machine's proc lets unshare mount the new one; it goes with the old root.
mount --rbind /proc proc
mkdir -p old
pivot_root . old
cd /
inside=bare_inside.sh
[[ $1 != libvirt9 ]] || inside=bare_live.sh
# Nothing of the outer environment but what reaches the toolchain and a proxy.
proxies=()
for name in http_proxy https_proxy no_proxy; do
  [[ -z ${!name:-} ]] || proxies+=("$name=$(sed -E "s,//(localhost|127\.0\.0\.1)([:/]|$),//$BARE_OUTER_LOOPBACK\2," <<<"${!name}")")
done
exec env -i HOME=/root LC_ALL=C.UTF-8 CARGO_HOME="$BARE_CARGO" CARGO_TARGET_DIR="$BARE_TARGET" \
  QUICKSTART_PROGRAM="$BARE_PROGRAM" FULL="$BARE_FULL" \
  PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$BARE_SYSROOT/bin" "${proxies[@]}" \
  unshare --pid --fork --kill-child --mount-proc --propagation private \
  bash "$BARE_PROJECT/scripts/lib/$inside" "$1" "$BARE_PROJECT"
