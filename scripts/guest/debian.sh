#!/usr/bin/env bash
# debian.sh OUT.qcow2 - builds a guest like Debian's cloud images, out of packages of this machine's mirror:
# real cloud-init, OpenSSH, the QEMU guest agent, GRUB behind the signed shim, so that it starts with and
# without Secure Boot. Its root file system grows to the disk. Runs as root (chroot), uses no loop device.
# Does nothing while OUT is current; FORCE=1 builds anyway.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for lib in log privilege cache apt apt_install packages disk debian_tree; do
  # shellcheck source=/dev/null
  . "$HERE/../lib/$lib.sh"
done

KERNEL=linux-image-cloud-amd64
BOOT=(grub-efi-amd64-signed shim-signed)
SYSTEM=(systemd-sysv systemd-resolved dbus udev kmod initramfs-tools zstd iproute2 procps e2fsprogs fdisk sudo)
CLOUD=(cloud-init cloud-guest-utils netplan.io openssh-server qemu-guest-agent)
INPUTS=("$HERE/debian.sh" "$HERE/../lib/debian_tree.sh" "$HERE/../lib/disk.sh")
DISK_MIB=3072
ESP_MIB=64
ROOT_AT_MIB=$((ESP_MIB + 1))
ROOT_MIB=$((DISK_MIB - ROOT_AT_MIB - 1))

main() {
  [[ $# == 1 ]] || die 'usage: scripts/guest/debian.sh OUT.qcow2'
  require_root scripts/guest/debian.sh
  local out=$1 key
  # shellcheck disable=SC2046
  packages_install $(package_list guest)
  apt_ready
  [[ -n $(apt_mirror Debian) ]] || die 'this machine has no Debian mirror to build the guest from'
  key=$(cache_key "$(versions)" "${INPUTS[@]}")
  if [[ -z ${FORCE:-} ]] && cache_is_current "$out" "$key"; then
    note "$out is current"
    return 0
  fi
  WORK=$(cache_scratch debian)
  trap 'rm -rf "$WORK"' EXIT
  build "$out" "$key"
}

versions() {
  apt-cache policy "$KERNEL" "${BOOT[@]}" "${CLOUD[@]}" | grep -E '^[^ ]|Candidate'
}

build() {
  TREE=$WORK/tree
  ROOT_UUID=$(</proc/sys/kernel/random/uuid)
  ROOT_PARTUUID=$(</proc/sys/kernel/random/uuid)
  step 'installing the packages of the guest' install_tree
  step 'configuring it' tree_configure "$TREE" "$ROOT_UUID" "$ROOT_PARTUUID"
  step 'making the EFI system partition' make_esp
  step 'writing the file system' make_disk
  step 'compressing the image' quietly qemu-img convert -O qcow2 -c -o compression_type=zstd "$WORK/disk" "$WORK/out"
  mkdir -p "$(dirname "$1")"
  cache_store "$WORK/out" "$1" "$2"
}

# The initramfs is made once, while the kernel is installed, so its settings must be there before.
install_tree() {
  local packages
  packages=$(IFS=,; echo "$KERNEL,${BOOT[*]},${SYSTEM[*]},${CLOUD[*]}")
  tree_sources "$(os_release VERSION_CODENAME)" >"$WORK/sources.list"
  tree_initramfs_settings "$WORK/initramfs"
  quietly mmdebstrap --variant=minbase --format=directory --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='force-unsafe-io' \
    --essential-hook="cp -r '$WORK/initramfs' \"\$1/etc/initramfs-tools\"" \
    "$(os_release VERSION_CODENAME)" "$TREE" "$WORK/sources.list"
}

# shim starts grubx64.efi beside it; that one reads the configuration of its distribution's folder.
make_esp() {
  disk_esp "$WORK/esp" "$ESP_MIB"
  cat >"$WORK/grub.cfg" <<CFG
search.fs_uuid $ROOT_UUID root
set prefix=(\$root)'/boot/grub'
configfile \$prefix/grub.cfg
CFG
  disk_put "$WORK/esp" "$TREE/usr/lib/shim/shimx64.efi.signed" EFI/BOOT/BOOTX64.EFI
  disk_put "$WORK/esp" "$TREE/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" EFI/BOOT/grubx64.efi
  disk_put "$WORK/esp" "$WORK/grub.cfg" EFI/debian/grub.cfg
}

# The root partition is number 1 and last on the disk: that is the one cloud-init grows. GRUB 2.06 does not
# know the two features that are switched off.
make_disk() {
  disk_partition "$WORK/disk" "$DISK_MIB" <<PARTITIONS
15: start=1MiB, size=${ESP_MIB}MiB, type=U, name=ESP
1: start=${ROOT_AT_MIB}MiB, size=${ROOT_MIB}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root, uuid=$ROOT_PARTUUID
PARTITIONS
  disk_write "$WORK/disk" "$WORK/esp" 1
  quietly mke2fs -q -F -t ext4 -U "$ROOT_UUID" -L root -m 1 -O ^metadata_csum_seed,^orphan_file \
    -E "offset=$((ROOT_AT_MIB * MIB)),lazy_itable_init=0,lazy_journal_init=0" -d "$TREE" "$WORK/disk" "${ROOT_MIB}M"
}

main "$@"
