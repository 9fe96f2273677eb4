#!/usr/bin/env bash
# bare_inside.sh plain|backports|trixie PROJECT: what a newcomer does on a bare machine, as its first process. The
# quickstart, README's next commands after it, and all of it taken away; with FULL set, the first two twice.
set -euo pipefail
shopt -s inherit_errexit

VARIANT=$1
umount -l /old
cd "$2"

check() {
  "$@" || {
    echo "bare, $VARIANT: not so: $*" >&2
    exit 1
  }
}

# timed WHAT COMMAND...
timed() {
  local begun=$SECONDS what=$1
  shift
  "$@"
  echo "bare, $VARIANT: $what in $((SECONDS - begun)) s"
}

install() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >/dev/null
}

# As several images ship it: qemu-utils from backports, and no trace of where it came from. And with a D-Bus daemon, but
# nothing of systemd's behind it; the other machines have none.
prepare() {
  local list=/etc/apt/sources.list.d/bare.list
  [[ $VARIANT == backports ]] || return 0
  find /etc/apt -name '*.list' -exec cat {} + | sed -n 's/^\(deb .*\) bookworm main/\1 bookworm-backports main/p' >"$list"
  apt-get -qq update
  install -t bookworm-backports qemu-utils
  rm "$list"
  apt-get -qq update
  install dbus
  mkdir -p /run/dbus
  dbus-daemon --system --fork
}

# NAME VERSION of each package that is installed
installed() {
  dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' | sed -n 's/^installed //p' | sort
}

# kept BEFORE: nothing that was installed then is gone or older now.
kept() {
  local version now
  while read -r _ version now; do
    [[ -n $now ]] || return 1
    [[ $now == "$version" ]] || dpkg --compare-versions "$now" ge "$version" || return 1
  done < <(join -a 1 "$1" <(installed))
}

# quickstart [OPTION...] [-- WORD...]: and it says each of these
quickstart() {
  local word options=()
  while (($# > 0)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  scripts/quickstart.sh --tiny "${options[@]}" 2>&1 | tee /tmp/said
  for word in "${@:2}"; do
    check grep -F -- "$word" /tmp/said >/dev/null
  done
}

# README's five commands as they stand there, but for who types at the guest.
readme() {
  local lines line
  check test -s web.yaml
  # shellcheck disable=SC2016
  mapfile -t lines < <(sed -n '/^## A manifest and five commands/,/^## /{/^```console$/,/^```$/s/^\$ //p}' README.md | head -n 5)
  check test "$(printf '%s\n' "${lines[@]}" | cut -d' ' -f1 | paste -sd,)" = foundry,foundry,foundry,foundry,foundry
  for line in "${lines[@]}"; do
    echo "\$ $line"
    case $line in
      "foundry ssh "*) check test "$(foundry ssh "${line#foundry ssh }" -- hostname </dev/null)" = web ;;
      # Enter is typed, and the guest answers with something.
      "foundry console "*) check test -n "$(echo | foundry console "${line#foundry console }")" ;;
      *) eval "$line" ;;
    esac
  done
  check test -z "$(foundry list --all -o name)"
}

# A host without udev has the device as the kernel made it.
close_kvm() {
  [[ ! -e /dev/kvm ]] || { chown root:root /dev/kvm && chmod 0600 /dev/kvm; }
}

# What is said of a closed device, if there is one
open_is_said() {
  [[ ! -e /dev/kvm ]] || echo 'chgrp kvm /dev/kvm && chmod 0660 /dev/kvm'
}

# libvirt has found KVM, and QEMU may not use it any more: the slow case, which doctor names.
doctor_names_closed_kvm() {
  [[ -e /dev/kvm ]] || return 0
  foundry doctor >/tmp/doctor 2>&1 || true
  check grep -F 'chgrp kvm /dev/kvm' /tmp/doctor >/dev/null
}

# Somebody wants it closed: then the calls have the time that libvirt takes, in this run and in the commands after it.
goes_on_beside_a_closed_kvm() {
  [[ -e /dev/kvm ]] || return 0
  close_kvm
  quickstart --no-open-kvm -- 'it stays closed' 'callTimeout: 10m'
  check test "$(stat -c %a /dev/kvm)" = 600
}

# Another network that meets the wanted one is told of, with a free one, and nothing is changed.
refuses_a_routed_subnet() {
  ip link add other0 type bridge
  ip addr add 10.20.0.1/16 dev other0
  ip link set other0 up
  ! scripts/quickstart.sh --tiny >/tmp/said 2>&1 || check false 'the quickstart takes a routed subnet'
  check grep -F 'already routed on this machine: 10.20.0.0/16 (other0)' /tmp/said >/dev/null
  check grep -F -e '--subnet 192.168.100' /tmp/said >/dev/null
  check test ! -e /sys/class/net/br0
  ip link del other0
}

nothing_is_left() {
  scripts/quickstart.sh --undo
  check test ! -e /sys/class/net/br0
  check test ! -e web.yaml
  check test ! -e /usr/local/bin/foundry
  check test ! -e /etc/foundry/config.yaml
  check test -z "$(iptables -t nat -S | grep MASQUERADE)"
  check test "$(cat /proc/sys/net/ipv4/ip_forward)" = 0
  check test "$(ls /etc/apt/sources.list.d)" = "$sources"
  [[ ! -e /dev/kvm ]] || check test "$(stat -c %a /dev/kvm)" = 600
}

# All of it again, on what the first run has left
second_run() {
  timed 'the quickstart again' quickstart -- "${said[@]}" 'using the existing image debian-12.qcow2'
  timed "README's commands again" readme
  [[ $VARIANT != plain ]] || timed 'the quickstart that leaves /dev/kvm closed' goes_on_beside_a_closed_kvm
}

timed 'made ready' prepare
installed >/tmp/before
sources=$(ls /etc/apt/sources.list.d)
git_state=$(sha256sum examples/*.yaml)
first=()
mapfile -t said < <(open_is_said)
# With backports' QEMU a package opens the device when it is installed.
[[ $VARIANT != plain ]] || first=("${said[@]}")
timed 'the quickstart' quickstart -- "${first[@]}"
timed "README's commands" readme
check kept /tmp/before
close_kvm
[[ $VARIANT != plain ]] || timed 'the doctor beside a closed /dev/kvm' doctor_names_closed_kvm
[[ -z $FULL ]] || second_run
check test "$git_state" = "$(sha256sum examples/*.yaml)"
close_kvm
timed 'taking it away' nothing_is_left
[[ $VARIANT != plain ]] || refuses_a_routed_subnet
