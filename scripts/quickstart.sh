#!/usr/bin/env bash
# quickstart.sh - from a fresh Debian, Ubuntu or Fedora to a VM that answers SSH: installs what is missing, builds
# foundry, makes a bridge, imports an image, creates a VM out of a manifest, logs in, destroys it again. Run it as
# root, with sudo, or as a user who may use sudo. It can be run again at any time, also after an aborted run.
#
#   scripts/quickstart.sh [IMAGE]         IMAGE (or FOUNDRY_IMAGE): a cloud image; without, one is built on Debian
#     --tiny             take a guest of 20 MB that boots in seconds, and knows little (Debian only)
#     --bridge NAME      the bridge to make or to use (foundry0)
#     --subnet A.B.C     its network, A.B.C.0/24 (10.78.0)
#     --keep             leave the VM and the bridge at the end (the next run replaces this VM)
#     --prefix PREFIX    for tests: put PREFIX before every name, and leave nothing at all
set -euo pipefail
shopt -s inherit_errexit

SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for lib in log privilege cache apt apt_install packages libvirtd bridge kvm rust leftovers quickstart_vm; do
  # shellcheck source=/dev/null
  . "$SCRIPTS/lib/$lib.sh"
done
cd "$SCRIPTS/.."

PREFIX=''
BRIDGE=''
SUBNET=''
IMAGE=${FOUNDRY_IMAGE:-}
TINY=''
KEEP=''
LOGIN=''
STARTED=''
BEGUN=$(now_ms)

main() {
  read_arguments "$@"
  settle_names
  require_root_or_sudo
  trap at_exit EXIT
  trap 'exit 130' INT TERM
  prepare
  show
  finish
}

read_arguments() {
  while (($# > 0)); do
    case $1 in
      --tiny) TINY=yes ;;
      --keep) KEEP=yes ;;
      --bridge | --subnet | --prefix)
        (($# > 1)) || die "$1 needs a value"
        local name=${1#--}
        printf -v "${name^^}" %s "$2"
        shift
        ;;
      -h | --help)
        sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
      -*) die "unknown argument $1" 'scripts/quickstart.sh --help' ;;
      *) IMAGE=$1 ;;
    esac
    shift
  done
}

# A prefix is for tests: then nothing may meet what somebody made with foundry on this machine.
settle_names() {
  VM=${PREFIX}quickstart
  MARK=${PREFIX:-foundry quickstart}
  if [[ -n $PREFIX ]]; then
    BRIDGE=${BRIDGE:-fdtq0} SUBNET=${SUBNET:-10.79.0}
    export FOUNDRY_VM_POOL=${PREFIX}quickstart-vms FOUNDRY_IMAGE_POOL=${PREFIX}quickstart-images
    export FOUNDRY_STORAGE_PATH=/var/lib/libvirt/${PREFIX}quickstart
  fi
  BRIDGE=${BRIDGE:-foundry0} SUBNET=${SUBNET:-10.78.0}
  KEY=$(cache_dir)/id_ed25519
  MANIFEST=$(cache_dir)/$VM.yaml
}

prepare() {
  # shellcheck disable=SC2046
  step 'installing what is missing' packages_install $(package_list build) $(package_list host)
  step 'looking for Rust' rust_install
  step 'building foundry' rust_build
  step 'starting libvirt' start_libvirt
  step 'asking whether KVM works' choose_virt_type
  step 'getting an image' get_image
  step 'making an SSH key' key_make
}

start_libvirt() {
  STARTED=$(libvirtd_start)
  note "libvirt: $STARTED"
}

choose_virt_type() {
  export FOUNDRY_VIRT_TYPE=${FOUNDRY_VIRT_TYPE:-$(kvm_probe)}
  note "guests run with $FOUNDRY_VIRT_TYPE"
}

get_image() {
  mkdir -p "$(cache_dir)"
  if [[ -n $IMAGE ]]; then
    [[ -r $IMAGE ]] || die "the image $IMAGE cannot be read"
  elif [[ $(os_release ID) != debian ]]; then
    die 'an image can be built on Debian only' "download your distribution's cloud image (qcow2), then: $0 IMAGE"
  elif [[ -n $TINY ]]; then
    IMAGE=$(cache_dir)/tiny.qcow2
    "$SCRIPTS/guest/tiny.sh" "$IMAGE"
  else
    IMAGE=$(cache_dir)/debian.qcow2
    as_root "$SCRIPTS/guest/debian.sh" "$IMAGE"
  fi
}

show() {
  step "removing what an aborted run has left of $VM" vm_remove_old
  step "making the bridge $BRIDGE" bridge_add "$BRIDGE" "$SUBNET.1/24" "$MARK"
  bridge_has_address
  step 'foundry image import' image_import
  step 'foundry create, until SSH answers' vm_create
  step 'logging in' vm_log_in
  step 'foundry list' foundry list
  step 'foundry get' foundry get "$VM"
  [[ -n $KEEP ]] || step 'foundry destroy' foundry destroy "$VM" --yes
}

# A bridge that was there before may have another network.
bridge_has_address() {
  [[ $(bridge_address "$BRIDGE") == "$SUBNET."* ]] \
    || die "the bridge $BRIDGE has the address $(bridge_address "$BRIDGE")" '--subnet A.B.C says which network to use'
}

finish() {
  [[ -n $KEEP ]] || bridge_remove "$BRIDGE" "$MARK"
  say "All of it took $(seconds $(($(now_ms) - BEGUN)))."
  [[ -n $PREFIX ]] || tell_the_rest
}

tell_the_rest() {
  local sudo='sudo '
  ((EUID != 0)) || [[ -n $(invoking_user) ]] || sudo=''
  say '' 'Left on this machine:'
  note "the image $(image_name "$IMAGE") in foundry's image pool; the key $KEY; the manifest $MANIFEST"
  [[ $STARTED != 'by hand' ]] || note "libvirtd and virtlogd, started by hand, pids in $LIBVIRT_BY_HAND"
  [[ -z $KEEP ]] || note "the VM $VM and the bridge $BRIDGE"
  say '' 'Go on with:'
  if [[ -n $KEEP ]]; then
    note "ssh -i $KEY $LOGIN@$SUBNET.10"
    note "$sudo$(rust_program foundry) destroy $VM"
  else
    note "$SCRIPTS/quickstart.sh --keep     # the same, and the VM stays"
    note "$sudo$(rust_program foundry) --help"
  fi
}

# In a test nothing may stay, however it ended. Otherwise what there is after a failure is worth a look, and the
# next run removes it.
at_exit() {
  local status=$?
  step_died
  if [[ -n $PREFIX ]]; then
    remove_domain_if_there
    remove_pool_if_there "$FOUNDRY_VM_POOL"
    remove_pool_if_there "$FOUNDRY_IMAGE_POOL"
    bridge_remove "$BRIDGE" "$MARK"
    rm -f "$MANIFEST"
    [[ ! -d $FOUNDRY_STORAGE_PATH ]] || as_root rmdir "$FOUNDRY_STORAGE_PATH"
  fi
  exit "$status"
}

remove_domain_if_there() {
  ! virsh_system dominfo "$VM" >/dev/null 2>&1 || remove_domain "$VM"
}

remove_pool_if_there() {
  ! virsh_system pool-info "$1" >/dev/null 2>&1 || remove_pool "$1"
}

main "$@"
