#!/usr/bin/env bash
# tiny.sh OUT.qcow2 - builds a guest that boots in seconds even without KVM: Debian's cloud kernel, busybox and
# dropbear in an initramfs, packed as one EFI program on a 64 MiB disk. What it does when it runs is in
# tiny-init.sh. Needs no root. Does nothing while OUT is current; FORCE=1 builds anyway.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for lib in log privilege cache apt apt_install packages disk; do
  # shellcheck source=/dev/null
  . "$HERE/../lib/$lib.sh"
done

PACKAGES=(linux-image-cloud-amd64 busybox-static systemd-boot-efi dropbear-bin libc6 libcrypt1 libtomcrypt1 libtommath1 libgmp10 zlib1g)
INPUTS=("$HERE"/tiny.sh "$HERE"/tiny-*.sh "$HERE"/tiny-*.awk "$HERE"/../lib/disk.sh)
# Loaded in this order, with what they depend on. The cloud kernel has no AHCI and no USB.
MODULES=(virtio_pci virtio_blk virtio_net virtio_scsi sr_mod sd_mod isofs virtio_rng virtio_balloon virtio_console
  button evdev qemu_fw_cfg nls_ascii nls_utf8 af_packet)
DISK_MIB=64

main() {
  [[ $# == 1 ]] || die 'usage: scripts/guest/tiny.sh OUT.qcow2'
  local out=$1 key
  # shellcheck disable=SC2046
  packages_install $(package_list guest)
  apt_ready
  key=$(cache_key "$(apt-cache policy "${PACKAGES[@]}" | grep -E '^[^ ]|Candidate')" "${INPUTS[@]}")
  if [[ -z ${FORCE:-} ]] && cache_is_current "$out" "$key"; then
    note "$out is current"
    return 0
  fi
  WORK=$(cache_scratch tiny)
  trap 'rm -rf "$WORK"' EXIT
  build "$out" "$key"
}

build() {
  step 'fetching the kernel, busybox and dropbear' fetch
  step 'packing the initramfs' pack_initramfs
  step 'making the disk' make_disk
  mkdir -p "$(dirname "$1")"
  cache_store "$WORK/tiny.qcow2" "$1" "$2"
}

fetch() {
  local kernel
  kernel=$(apt-cache depends "${PACKAGES[0]}" | awk '/Depends: linux-image-[0-9]/ && !n++ { print $2 }')
  apt_fetch "$WORK" "${kernel:-${PACKAGES[0]}}" "${PACKAGES[@]:1}"
  TREE=$WORK/tree
  VERSION=$(basename "$TREE"/boot/vmlinuz-*)
  VERSION=${VERSION#vmlinuz-}
}

pack_initramfs() {
  ROOT=$WORK/initramfs
  mkdir -p "$ROOT"/{bin,sbin,lib,lib64,proc,sys,dev,run,tmp,mnt,root/.ssh,etc/dropbear,etc/acpi/PWRF,lib/modules,var/log}
  ln -s /run "$ROOT/var/run"
  add_programs
  add_modules
  add_configuration
  (cd "$ROOT" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0) | lz4 -l -9 -q -c >"$WORK/initrd"
}

add_programs() {
  local applet
  install -m 755 "$(first_file busybox)" "$ROOT/bin/busybox"
  for applet in $("$ROOT/bin/busybox" --list); do
    [[ $applet == busybox ]] || ln -sf busybox "$ROOT/bin/$applet"
  done
  install -m 755 "$(first_file dropbear)" "$ROOT/sbin/dropbear"
  install -m 755 "$(first_file dropbearkey)" "$(first_file dropbearconvert)" "$ROOT/bin/"
  add_libraries "$ROOT"/sbin/dropbear "$ROOT"/bin/dropbear{key,convert}
  cp -L "$(first_file ld-linux-x86-64.so.2)" "$ROOT/lib64/"
}

# add_libraries PROGRAM...: what they need, and what that needs in turn
add_libraries() {
  local program name
  for program in "$@"; do
    for name in $(objdump -p "$program" | awk '/NEEDED/ { print $2 }'); do
      [[ ! -e $ROOT/lib/$name ]] || continue
      cp -L "$(first_file "$name")" "$ROOT/lib/"
      add_libraries "$ROOT/lib/$name"
    done
  done
}

# The first executable or library of this name among the unpacked packages
first_file() {
  local found
  found=$(find "$TREE" -path '*/share' -prune -o -name "$1" ! -type d -print | sed -n 1p)
  [[ -n $found ]] || die "no $1 in the packages ${PACKAGES[*]}"
  echo "$found"
}

add_modules() {
  local module
  KERNEL_MODULES=$(find "$TREE" -path "*/lib/modules/$VERSION/kernel")
  : >"$ROOT/lib/modules/order"
  for module in "${MODULES[@]}"; do
    add_module "$module"
  done
}

# A module that is not there is built into this kernel, or does not exist for it.
add_module() {
  local file dependency
  ! grep -qx "$1.ko" "$ROOT/lib/modules/order" || return 0
  file=$(find "$KERNEL_MODULES" -name "$1.ko*" -o -name "${1//_/-}.ko*" | sed -n 1p)
  [[ -n $file ]] || return 0
  for dependency in $(modinfo -F depends "$file" | tr , ' '); do
    add_module "$dependency"
  done
  case $file in
    *.xz) xz -dc "$file" ;;
    *.zst) zstd -qdc "$file" ;;
    *) cat "$file" ;;
  esac >"$ROOT/lib/modules/$1.ko"
  echo "$1.ko" >>"$ROOT/lib/modules/order"
}

add_configuration() {
  echo 'root:*:0:0:root:/root:/bin/sh' >"$ROOT/etc/passwd"
  echo 'root:x:0:' >"$ROOT/etc/group"
  echo /bin/sh >"$ROOT/etc/shells"
  install -m 755 "$HERE/tiny-init.sh" "$ROOT/init"
  install -m 755 "$HERE/tiny-dhcp.sh" "$ROOT/etc/dhcp"
  install -m 755 "$HERE/tiny-power.sh" "$ROOT/etc/acpi/PWRF/00000080"
  install -m 644 "$HERE/tiny-network.awk" "$ROOT/etc/network.awk"
}

# It starts with one processor and takes the others when its devices are set up (tiny-init.sh). QEMU's translator may end
# with "msix_table_mmio_write: Assertion" where a second one is at work meanwhile: seen with 10.0, in 1 of 25 starts.
make_disk() {
  printf 'NAME=tiny\nID=tiny\nPRETTY_NAME="Tiny test guest"\n' >"$WORK/os-release"
  printf 'console=ttyS0,115200 quiet loglevel=3 panic=1 mitigations=off tsc=reliable no_timer_check %s' \
    'rcupdate.rcu_expedited=1 audit=0 random.trust_cpu=on maxcpus=1' >"$WORK/cmdline"
  disk_uki "$WORK/tiny.efi" "$(first_file linuxx64.efi.stub)" "$TREE/boot/vmlinuz-$VERSION" "$WORK/initrd" \
    "$WORK/cmdline" "$WORK/os-release"
  disk_esp "$WORK/esp" $((DISK_MIB - 2))
  disk_put "$WORK/esp" "$WORK/tiny.efi" EFI/BOOT/BOOTX64.EFI
  echo "start=1MiB, size=$((DISK_MIB - 2))MiB, type=U, name=ESP" | disk_partition "$WORK/disk" "$DISK_MIB"
  disk_write "$WORK/disk" "$WORK/esp" 1
  qemu-img convert -O qcow2 "$WORK/disk" "$WORK/tiny.qcow2"
}

main "$@"
