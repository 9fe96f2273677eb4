# shellcheck shell=bash
# What tests make on a host carries a prefix. This finds it and removes it: nothing else is ever touched.
# Needs log.sh, privilege.sh and libvirtd.sh (LIBVIRT_SYSTEM).

TEST_PREFIX=foundry-test-
# Tap devices are named after the guest's IPv4 address: 10.77.* and 10.79.* are the tests' networks.
TEST_TAPS='^vm0a4[df]'

virsh_system() {
  as_root timeout 120 virsh -q -c "$LIBVIRT_SYSTEM" "$@"
}

# leftover_names KIND (list|net-list|pool-list): names with the prefix, one in each line; they may have blanks
leftover_names() {
  virsh_system "$1" --all --name 2>/dev/null | grep "^$TEST_PREFIX" || true
}

leftover_taps() {
  ip -o link show | awk -F': ' '{ sub(/@.*/, "", $2); print $2 }' | grep -E "$TEST_TAPS" || true
}

# QEMU processes of such guests, also those that libvirt has forgotten
leftover_processes() {
  pgrep -f "^[^ ]*qemu[^ ]* .*guest=$TEST_PREFIX" || true
}

# One line for each thing that is left. Empty output: clean.
leftovers() {
  leftover_names list | sed 's/^/domain /'
  leftover_names net-list | sed 's/^/network /'
  leftover_names pool-list | sed 's/^/pool /'
  leftover_taps | sed 's/^/tap /'
  leftover_processes | sed 's/^/qemu process /'
}

# Each name is one whole line: cut at its blanks it would name what is somebody else's.
leftovers_remove() {
  local name names
  mapfile -t names < <(leftover_names list)
  for name in "${names[@]}"; do
    remove_domain "$name"
  done
  mapfile -t names < <(leftover_names net-list)
  for name in "${names[@]}"; do
    virsh_system net-destroy "$name" >/dev/null 2>&1 || true
    virsh_system net-undefine "$name" >/dev/null 2>&1 || true
  done
  mapfile -t names < <(leftover_names pool-list)
  for name in "${names[@]}"; do
    remove_pool "$name"
  done
}

# Power off, then forget, with all that libvirt keeps for it. --tpm is known since libvirt 8.9.
remove_domain() {
  local flags=(--nvram --managed-save --snapshots-metadata --checkpoints-metadata)
  virsh_system destroy "$1" >/dev/null 2>&1 || true
  virsh_system undefine "$1" "${flags[@]}" --tpm >/dev/null 2>&1 \
    || virsh_system undefine "$1" "${flags[@]}" >/dev/null 2>&1 \
    || warn "the domain $1 cannot be removed"
}

# With its volumes and, as they are then empty, its folder
remove_pool() {
  local volume volumes
  virsh_system pool-start "$1" >/dev/null 2>&1 || true
  virsh_system pool-refresh "$1" >/dev/null 2>&1 || true
  mapfile -t volumes < <(virsh_system vol-list "$1" 2>/dev/null | volume_names)
  for volume in "${volumes[@]}"; do
    virsh_system vol-delete "$volume" --pool "$1" >/dev/null 2>&1 || warn "the volume $volume of $1 cannot be removed"
  done
  virsh_system pool-destroy "$1" >/dev/null 2>&1 || true
  virsh_system pool-delete "$1" >/dev/null 2>&1 || true
  virsh_system pool-undefine "$1" >/dev/null 2>&1 || warn "the pool $1 cannot be removed"
}

# Reads the table of vol-list, for which virsh has no other form: a name ends where the path begins that ends in it.
volume_names() {
  local line path name
  while IFS= read -r line; do
    line=${line# }
    path=/${line#*[[:space:]]/}
    name=${path##*/}
    if [[ $line == *[[:space:]]/* && $line == "$name "* ]]; then
      printf '%s\n' "$name"
    fi
  done
}
