# shellcheck shell=bash
# The main job of foundry, step by step, as scripts/quickstart.sh shows it. Needs the variables set there and
# log.sh, privilege.sh, cache.sh, and SETUP_NOTES of apt_install.sh.

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

# A disk with some room beyond what the image wants
disk_size_gib() {
  local bytes
  bytes=$(image_fact "$1" 'virtual size' | sed 's/.*(\([0-9]*\) bytes)/\1/')
  echo $((bytes / 1024 / 1024 / 1024 + 2))
}

# A guest that QEMU translates is no faster with two, and was once seen to stand still with them.
vcpus() {
  [[ $FOUNDRY_VIRT_TYPE == qemu ]] && echo 1 || echo 2
}

manifest() {
  cat <<YAML
apiVersion: foundry.cofront.xyz/v1alpha1
kind: VirtualMachine
metadata:
  name: $VM
  labels: {$LABEL: "true"}
spec:
  vcpus: $(vcpus)
  memoryGiB: 1
  bootDisk: {sizeGiB: $(disk_size_gib "$IMAGE"), image: $IMAGE_NAME}
  networkInterfaces:
    - {ip: $SUBNET.10/24, gateway: $SUBNET.1, bridge: $BRIDGE, dnsServers: [$SUBNET.1]}
  cloudInit:
    fqdn: $VM.example.com
    sshAuthorizedKeys: ["$(<"$KEY.pub")"]
YAML
}

# By this label a VM is known as the quickstart's own: a name can be anybody's.
LABEL=foundry-quickstart

# vm_exists [LIST-ARGUMENT...]
vm_exists() {
  foundry list --all -o name "$@" | grep -Fx -- "$VM" >/dev/null
}

# Left by a run that was aborted, or kept by --keep
vm_remove_old() {
  if vm_exists -l "$LABEL=true"; then
    foundry destroy "$VM" --yes
  elif vm_exists; then
    die "the VM $VM was not made by this script" "rename it, or check whether you need it: foundry get $VM"
  fi
}

# An image of this name that somebody else imported is as good; one of an earlier run is replaced if this one is another,
# unless a VM lies on it.
image_import() {
  local digest
  digest=$(sha256sum <"$IMAGE" | cut -d' ' -f1)
  if image_is_there; then
    if ! image_is_ours || image_is_ours "$digest" || ! foundry image delete "$IMAGE_NAME"; then
      note "using the existing image $IMAGE_NAME"
      return 0
    fi
  fi
  foundry image import "$IMAGE" "$IMAGE_NAME"
  note "$IMAGE is now the image $IMAGE_NAME, the name in the examples"
  [[ -n $PREFIX ]] || image_note "$digest"
}

image_is_there() {
  foundry image list -o name 2>/dev/null | grep -Fx -- "$IMAGE_NAME" >/dev/null
}

# image_is_ours [DIGEST]: this script imported it, from a file of that digest
image_is_ours() {
  grep -E "^${1:-[0-9a-f]+}\$" "$SETUP_NOTES/image" >/dev/null 2>&1
}

image_note() {
  as_root mkdir -p "$SETUP_NOTES"
  echo "$1" | as_root tee "$SETUP_NOTES/image" >/dev/null
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
  die "cannot log in to the VM by SSH at $SUBNET.10" "see its console: foundry console $VM"
}
