# shellcheck shell=bash
# What makes an installed Debian tree a cloud image. Needs apt.sh.

# tree_sources CODENAME: the guest's sources.list, the machine's own mirrors
tree_sources() {
  local security
  security=$(apt_mirror Debian-Security)
  echo "deb $(apt_mirror Debian) $1 main"
  echo "deb $(apt_mirror Debian) $1-updates main"
  [[ -z $security ]] || echo "deb $security $1-security main"
}

# tree_initramfs_settings DIR: only the drivers of a virtual machine's disks; unpacking and probing all others
# takes half of the start without KVM. cloud-init decides before udev runs whether there is a seed, so the
# CD-ROM has to be there by then.
tree_initramfs_settings() {
  mkdir -p "$1/conf.d"
  printf '%s\n' 'MODULES=list' 'COMPRESS=zstd' >"$1/conf.d/foundry"
  printf '%s\n' virtio_pci virtio_blk virtio_scsi sd_mod sr_mod ext4 crc32c >"$1/modules"
}

# tree_configure TREE ROOT_UUID ROOT_PARTUUID
tree_configure() {
  tree_boot_loader "$@"
  tree_cloud_init "$1"
  tree_services "$1"
  tree_forget "$1"
  echo "PARTUUID=$3 / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1" >"$1/etc/fstab"
  printf '127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n' >"$1/etc/hosts"
}

# By hand: grub-mkconfig looks at the block devices of the machine it runs on.
tree_boot_loader() {
  local version
  version=$(basename "$1"/boot/vmlinuz-*)
  version=${version#vmlinuz-}
  mkdir -p "$1/boot/grub"
  cat >"$1/boot/grub/grub.cfg" <<CFG
serial --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
search --no-floppy --fs-uuid --set=root $2
menuentry 'Debian GNU/Linux' {
  linux /boot/vmlinuz-$version root=PARTUUID=$3 ro console=tty0 console=ttyS0,115200
  initrd /boot/initrd.img-$version
}
CFG
}

# As the Debian cloud images have it. Without a locale that exists cloud-init ends in `status: error`; with the
# full list of data sources it would ask the network for metadata.
tree_cloud_init() {
  mkdir -p "$1/etc/cloud/cloud.cfg.d"
  echo 'datasource_list: [ NoCloud, ConfigDrive, None ]' >"$1/etc/cloud/cloud.cfg.d/90_dpkg.cfg"
  cat >"$1/etc/cloud/cloud.cfg.d/01_debian_cloud.cfg" <<'CFG'
apt: {preserve_sources_list: true}
locale: C.UTF-8
manage_etc_hosts: true
CFG
}

tree_services() {
  quietly chroot "$1" systemctl enable systemd-networkd systemd-resolved ssh serial-getty@ttyS0
  quietly chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    fstrim.timer e2scrub_reap.service getty@tty1.service
  ln -sf /run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"
}

# What must be different in each guest, and what only the build needed
tree_forget() {
  rm -f "$1"/etc/ssh/ssh_host_* "$1/var/lib/dbus/machine-id" "$1/etc/hostname"
  : >"$1/etc/machine-id"
  rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/log/*.log "$1"/var/log/apt/* "$1"/tmp/* "$1"/run/*
  rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$1"/etc/apt/sources.list.d/*
}
