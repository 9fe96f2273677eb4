# shellcheck shell=bash
# Does KVM really run a UEFI guest here? Capabilities do not tell: there are hosts (nested or emulated KVM)
# on which libvirt offers KVM and starts the domain, and the guest dies at its first instructions.
# Needs privilege.sh: libvirt runs guests as root, whatever this user may do.

KVM_FIRMWARE=(/usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd /usr/share/edk2/ovmf/OVMF_CODE.fd)

kvm_firmware() {
  local file
  for file in "${KVM_FIRMWARE[@]}"; do
    if [[ -r $file ]]; then
      echo "$file"
      return 0
    fi
  done
  return 1
}

kvm_qemu() {
  command -v qemu-system-x86_64 || { [[ -x /usr/libexec/qemu-kvm ]] && echo /usr/libexec/qemu-kvm; }
}

# What to tell QEMU on its monitor. Three seconds are ten times what the firmware needs to reach its drivers.
kvm_questions() {
  echo '{"execute":"qmp_capabilities"}'
  sleep 3
  echo '{"execute":"query-status"}'
  echo '{"execute":"quit"}'
}

# Runs the firmware alone, without any disk, and prints QEMU's answers.
kvm_run_firmware() {
  kvm_questions 2>/dev/null | as_root timeout 20 "$1" -accel kvm -machine q35 -cpu host -m 256 -nodefaults -display none -net none \
    -drive "if=pflash,format=raw,readonly=on,file=$2" -qmp stdio 2>/dev/null || true
}

# Prints `kvm` or `qemu`: the virtualization type that guests can use on this machine.
kvm_probe() {
  local qemu firmware
  if [[ -e /dev/kvm ]] && qemu=$(kvm_qemu) && firmware=$(kvm_firmware) \
    && kvm_run_firmware "$qemu" "$firmware" 2>/dev/null | grep '"status": "running"' >/dev/null; then
    echo kvm
  else
    echo qemu
  fi
}
