# shellcheck shell=bash
# The main job of foundry, step by step, as scripts/quickstart.sh shows it. Needs the variables set there and
# log.sh, privilege.sh, cache.sh.

foundry() {
  as_root "$(rust_program foundry)" "$@"
}

key_make() {
  mkdir -p "$(cache_dir)"
  [[ -s $KEY ]] || ssh-keygen -q -t ed25519 -N '' -C "$VM" -f "$KEY"
}

# image_fact FILE 'file format'|'virtual size': as qemu-img says it
image_fact() {
  qemu-img info "$1" | sed -n "s/^$2: //p" | sed -n 1p
}

# "debian.qcow2": an image is named by what it is, not by the extension that its maker chose
image_name() {
  local name
  name=$(basename "$1")
  echo "${name%.*}.$(image_fact "$1" 'file format')"
}

# A disk with some room beyond what the image wants
disk_size_gib() {
  local bytes
  bytes=$(image_fact "$1" 'virtual size' | sed 's/.*(\([0-9]*\) bytes)/\1/')
  echo $((bytes / 1024 / 1024 / 1024 + 2))
}

manifest() {
  cat <<YAML
apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
metadata:
  name: $VM
spec:
  vcpus: 2
  memoryGiB: 1
  bootDisk: {sizeGB: $(disk_size_gib "$IMAGE"), image: $(image_name "$IMAGE")}
  networkInterfaces:
    - {ip: $SUBNET.10/24, gateway: $SUBNET.1, bridge: $BRIDGE, dnsServers: [$SUBNET.1]}
  cloudInit:
    fqdn: $VM.example.com
    sshAuthorizedKeys: ["$(<"$KEY.pub")"]
YAML
}

vm_exists() {
  foundry list --all -o name | grep -x "\(.*/\)\?$VM" >/dev/null
}

# Left by a run that was aborted
vm_remove_old() {
  ! vm_exists || foundry destroy "$VM" --yes --force
}

# Imported anew each time, as an aborted run may have left half of it; kept if a VM of yours is built on it.
image_import() {
  local name
  name=$(image_name "$IMAGE")
  if foundry image list 2>/dev/null | awk '{ print $1 }' | grep -x "$name" >/dev/null && ! foundry image delete "$name"; then
    note "taking the image $name that is already there"
    return 0
  fi
  foundry image import "$IMAGE" "$name"
}

vm_create() {
  manifest >"$MANIFEST"
  foundry create "$MANIFEST" --wait=ssh --timeout 10m
}

vm_ssh() {
  ssh -i "$KEY" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -o ConnectTimeout=5 "$@"
}

# Which user the key belongs to is the image's choice; sshd answers a little before cloud-init has put it there.
vm_log_in() {
  local user tries answer
  for ((tries = 0; tries < 30; tries++)); do
    for user in root debian ubuntu fedora cloud-user; do
      if answer=$(vm_ssh "$user@$SUBNET.10" hostname 2>/dev/null </dev/null) && [[ $answer == "$VM"* ]]; then
        note "ssh $user@$SUBNET.10 hostname: $answer"
        # shellcheck disable=SC2034
        LOGIN=$user
        return 0
      fi
    done
    sleep 2
  done
  die "the VM does not let us in by SSH at $SUBNET.10" "see its console: virsh console $VM"
}
