# shellcheck shell=bash
# scripts/quickstart.sh --undo: takes away what it made, and nothing that somebody changed or uses. Needs the variables
# and the other libraries of scripts/quickstart.sh.

undo() {
  step "removing the VM $VM" undo_vm
  step 'removing the image' undo_image
  step "removing the bridge $BRIDGE" undo_bridge
  step 'removing files' undo_files
  step 'closing /dev/kvm again' kvm_undo
  step 'stopping the daemons started by hand' undo_daemons
  step 'taking the added suite away' apt_drop_suite "$(os_release VERSION_CODENAME)-backports"
  undo_tell
}

undo_program() {
  local file
  file=$(rust_program foundry)
  if [[ -x $file ]]; then
    as_root "$file" "$@"
  else
    as_root "$PROGRAM" "$@"
  fi
}

undo_can_ask() {
  [[ -x $(rust_program foundry) || -x $PROGRAM ]] && libvirtd_answers
}

undo_vm() {
  undo_can_ask || { note 'foundry or libvirt is missing, so this is skipped' && return 0; }
  ! undo_program list --all -o name -l "$LABEL=true" | grep -Fx -- "$VM" >/dev/null || undo_program destroy "$VM" --yes
}

undo_image() {
  image_is_ours || { note 'none was imported' && return 0; }
  undo_can_ask || return 0
  if ! undo_program image list -o name | grep -Fx -- "$IMAGE_NAME" >/dev/null || undo_program image delete "$IMAGE_NAME"; then
    as_root rm -f "$SETUP_NOTES/image"
  else
    note "the image $IMAGE_NAME is kept"
  fi
}

# A guest that runs on it would lose its network.
undo_bridge() {
  if [[ -n $(ls "/sys/class/net/$BRIDGE/brif" 2>/dev/null) ]]; then
    note "$BRIDGE is kept, because something is attached: $(ls "/sys/class/net/$BRIDGE/brif")"
    return 0
  fi
  way_out_undo "$BRIDGE"
  bridge_remove "$BRIDGE" "$MARK"
}

undo_files() {
  local file
  for file in "$PROGRAM" "$SETTINGS" "$PWD/web.yaml"; do
    made_remove "$file"
  done
}

undo_daemons() {
  if [[ ! -d $LIBVIRT_BY_HAND ]]; then
    note 'none'
  elif libvirtd_answers && virsh_system list --name | grep . >/dev/null; then
    note 'they are kept, because VMs are running'
  else
    libvirtd_stop
  fi
}

undo_tell() {
  local brought
  say '' 'Left: your SSH key, your VMs and images with their pools, and what was built in target/ and in the cache'
  note "the cache: $(cache_dir)"
  [[ $(package_family) == debian ]] || return 0
  mapfile -t brought < <(apt_brought)
  ((${#brought[@]} == 0)) || note "packages that were installed (delete those you do not need with apt-get remove): ${brought[*]}"
}
