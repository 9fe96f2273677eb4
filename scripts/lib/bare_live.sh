#!/usr/bin/env bash
# bare_live.sh libvirt9 PROJECT: the live tests of what this libvirt and QEMU do in their own way, as the first process of
# a bare machine. The program that runs them was built outside, as was foundry.
set -euo pipefail
shopt -s inherit_errexit

MODULES=(live::adopt:: live::changes:: live::clone:: live::power:: live::rename:: live::repave:: live::snapshot:: live::xml_patch::)

umount -l /old
cd "$2"
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install qemu-system-x86 qemu-utils \
  libvirt-daemon-system libvirt-clients ovmf dnsmasq-base iproute2 iptables openssh-client >/dev/null
libvirtd --version
qemu-system-x86_64 --version | head -n 1
# As udev would: otherwise this libvirt probes QEMU anew at each call.
[[ ! -e /dev/kvm ]] || { chgrp kvm /dev/kvm && chmod 0660 /dev/kvm; }

cache=$HOME/.cache/foundry-test
export FOUNDRY_TEST_URI=qemu:///system FOUNDRY_TEST_BRIDGE=br0 FOUNDRY_TEST_REQUIRE=1 FOUNDRY_VIRT_TYPE=qemu
export FOUNDRY_TEST_TINY=$cache/tiny.qcow2 FOUNDRY_TEST_SSH_KEY=$cache/id_ed25519
program=$(find "$CARGO_TARGET_DIR/debug/deps" -name 'live-*' ! -name '*.d' -printf '%T@ %p\n' | sort -rn | sed -n '1s/^[^ ]* //p')
host=$(mktemp -d /var/tmp/foundry-test-lane.XXXXXX)
chmod 755 "$host"
# What it waits at: it ends when nobody holds it.
mkfifo /run/hold
exec {hold}<>/run/hold
unshare --mount --net --uts --pid --fork --kill-child --mount-proc bash tests/support/private_host.sh "$host" \
  env --default-signal "$program" --test-threads=1 "${MODULES[@]}" </run/hold {hold}>&-
