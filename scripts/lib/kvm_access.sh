# shellcheck shell=bash
# May QEMU open /dev/kvm? Where no udev runs, the device has mode 0600. libvirt then finds KVM as root, finds that
# QEMU's user has none, and asks QEMU for its capabilities anew at every call: seconds for each, minutes for a define.
# Needs log.sh, privilege.sh, and WAY_OUT_NOTES of way_out.sh.

KVM_DEVICE=${KVM_DEVICE:-/dev/kvm}
# Enough for a define under those conditions
# shellcheck disable=SC2034
KVM_CLOSED_CALL_TIMEOUT=10m

# The user that libvirt's packages make for QEMU: Debian's, then Fedora's
kvm_user() {
  local user
  for user in libvirt-qemu qemu; do
    if getent passwd "$user" >/dev/null; then
      echo "$user"
      return 0
    fi
  done
  return 1
}

# The device is there, and QEMU's user cannot open it.
kvm_is_closed() {
  local user
  [[ -e $KVM_DEVICE ]] && user=$(kvm_user) || return 1
  # shellcheck disable=SC2016
  ! as_root setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
    bash -c '[[ -r $1 && -w $1 ]]' bash "$KVM_DEVICE" 2>/dev/null
}

# A machine for one job: root in a container, or without systemd as its first process
machine_is_throw_away() {
  ((EUID == 0)) || return 1
  [[ ! -d /run/systemd/system ]] || systemd-detect-virt --quiet --container 2>/dev/null
}

# kvm_open yes|no|'': opens a closed /dev/kvm to the group kvm, as udev's rule does, if told so; asks where nobody said.
# Prints `open`, `opened` or `closed`.
kvm_open() {
  if ! kvm_is_closed; then
    echo open
    return 0
  fi
  say "    $KVM_DEVICE is closed to QEMU ($(stat -c 'mode %a, %U:%G' "$KVM_DEVICE")): libvirt will probe QEMU anew at each call."
  if kvm_may_open "$1"; then
    kvm_do_open
    echo opened
  else
    note "it stays closed; to open it: chgrp kvm $KVM_DEVICE && chmod 0660 $KVM_DEVICE"
    echo closed
  fi
}

# Not without a group kvm that QEMU's user is in: it would open the device to others, and not to QEMU.
kvm_may_open() {
  if ! id -nG "$(kvm_user)" | tr ' ' '\n' | grep -qx kvm; then
    note "$(kvm_user) is not in a group kvm, so opening it to that group would not help"
    return 1
  fi
  case $1 in
    yes) return 0 ;;
    no) return 1 ;;
  esac
  machine_is_throw_away || kvm_ask
}

kvm_ask() {
  local answer
  if [[ ! -t 0 || ! -t 2 ]]; then
    note 'cannot ask without a terminal: --open-kvm opens it'
    return 1
  fi
  read -r -p "    Open it to the group kvm until the next boot, as udev's rule does? [y/N] " answer
  [[ $answer == [yY]* ]]
}

# What udev's rule does (50-udev-default.rules: GROUP="kvm", MODE="0660")
kvm_do_open() {
  note "opening it, as udev's rule does: chgrp kvm $KVM_DEVICE && chmod 0660 $KVM_DEVICE"
  as_root mkdir -p "$WAY_OUT_NOTES"
  stat -c '%u:%g %a' "$KVM_DEVICE" | as_root tee "$WAY_OUT_NOTES/kvm" >/dev/null
  as_root chgrp kvm "$KVM_DEVICE"
  as_root chmod 0660 "$KVM_DEVICE"
}

# As it was before kvm_do_open, if that was since this boot
kvm_undo() {
  local owner mode
  read -r owner mode 2>/dev/null <"$WAY_OUT_NOTES/kvm" || return 0
  as_root chown "$owner" "$KVM_DEVICE"
  as_root chmod "$mode" "$KVM_DEVICE"
  as_root rm -f "$WAY_OUT_NOTES/kvm"
  as_root rmdir --ignore-fail-on-non-empty "$WAY_OUT_NOTES"
}
