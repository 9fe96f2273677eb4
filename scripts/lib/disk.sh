# shellcheck shell=bash
# Disk images without loop devices, mounts or root: partition tables by sfdisk, FAT by mtools.
# Needs log.sh.

MIB=$((1024 * 1024))

# disk_esp FILE MIB [VOLUME_ID]: an empty EFI system partition
disk_esp() {
  truncate -s "$2M" "$1"
  # One sector per cluster: FAT32 needs 65,525 clusters, which small partitions have only so.
  quietly mkfs.vfat -F 32 -s 1 -n ESP ${3:+-i "$3"} "$1"
}

# disk_put ESP SOURCE TARGET: copies a file into an EFI system partition, making the folders of TARGET
disk_put() {
  local folder='' part
  local -a parts
  IFS=/ read -r -a parts <<<"$(dirname "$3")"
  for part in "${parts[@]}"; do
    folder+=/$part
    mdir -i "$1" "::$folder" >/dev/null 2>&1 || mmd -i "$1" "::$folder"
  done
  mcopy -i "$1" "$2" "::$3"
}

# disk_partition DISK MIB: an empty disk with the GPT that stands on stdin in sfdisk's language
disk_partition() {
  truncate -s "$2M" "$1"
  { echo 'label: gpt' && cat; } | quietly sfdisk -q "$1"
}

# disk_write DISK FILE MIB: writes FILE at this offset, holes stay holes
disk_write() {
  dd if="$2" of="$1" bs=$MIB seek="$3" conv=sparse,notrunc status=none
}

# disk_uki OUT STUB KERNEL INITRD CMDLINE OS_RELEASE: one EFI program of a kernel, its initramfs and command
# line. The sections are put behind the stub's own ones, page by page.
disk_uki() {
  local out=$1 stub=$2 at section file arguments=()
  at=$(disk_stub_end "$stub")
  for section in "osrel $6" "cmdline $5" "initrd $4" "linux $3"; do
    file=${section#* } section=.${section%% *}
    at=$(((at + 4095) / 4096 * 4096))
    arguments+=(--add-section "$section=$file" --change-section-vma "$section=$at")
    at=$((at + $(stat -c %s "$file")))
  done
  objcopy "${arguments[@]}" "$stub" "$out"
}

# Where the last section of an EFI program ends (objdump: index, name, size, address, ...)
disk_stub_end() {
  local size address end=0 rest
  while read -r _ _ size address rest; do
    ((16#$size + 16#$address <= end)) || end=$((16#$size + 16#$address))
  done < <(objdump -h "$1" | grep -E '^ *[0-9]+ ')
  echo "$end"
}
