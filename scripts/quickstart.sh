#!/usr/bin/env bash
# quickstart.sh - from a fresh Debian, Ubuntu or Fedora to a VM that answers SSH, and to a host on which README's next
# commands work: installs what is missing, builds foundry and puts it on the path, makes a bridge with a way out for
# guests, imports an image, and runs all of foundry's job once: a VM is made out of a manifest, logged into, destroyed.
# Run it as root, with sudo, or as a user who may use sudo. It can be run again at any time, also after an aborted run.
# No package is ever removed or downgraded by it.
#
#   scripts/quickstart.sh [IMAGE]         IMAGE (or FOUNDRY_IMAGE): a cloud image; without, one is built on Debian
#     --tiny             take a guest of 20 MB that boots in seconds, and knows little (Debian only)
#     --bridge NAME      the bridge to make or to use (br0)
#     --subnet A.B.C     its network, A.B.C.0/24 (10.20.30); one that is routed already is refused
#     --no-way-out       no NAT, no forwarding, no name server for the guests
#     --no-install       do not put foundry into /usr/local/bin
#     --open-kvm         if /dev/kvm is closed to QEMU, open it to the group kvm, as udev's rule does
#     --no-open-kvm      leave it closed, and take the time; with neither, it asks (a container's root: it opens)
#     --keep             leave the VM of this run (the next run replaces it)
#     --undo             take away what earlier runs made: all but packages, your key and your VMs
#     --prefix PREFIX    for tests: put PREFIX before every name, and leave nothing at all
set -euo pipefail
shopt -s inherit_errexit

SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for lib in log privilege cache apt apt_install packages libvirtd subnet bridge way_out kvm kvm_access rust leftovers made \
  quickstart_vm quickstart_reader quickstart_undo; do
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
WAY_OUT=yes
INSTALL=yes
OPEN_KVM=''
UNDO=''
# The name in the examples
IMAGE_NAME=debian-12.qcow2
LOGIN=''
STARTED=''
KVM=''
BEGUN=$(now_ms)

main() {
  read_arguments "$@"
  settle_names
  require_root_or_sudo
  trap at_exit EXIT
  trap 'exit 130' INT TERM
  if [[ -n $UNDO ]]; then
    undo
  else
    prepare
    show
    finish
  fi
}

read_arguments() {
  while (($# > 0)); do
    case $1 in
      --tiny) TINY=yes ;;
      --keep) KEEP=yes ;;
      --undo) UNDO=yes ;;
      --no-way-out) WAY_OUT='' ;;
      --no-install) INSTALL='' ;;
      --open-kvm) OPEN_KVM=yes ;;
      --no-open-kvm) OPEN_KVM=no ;;
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
    BRIDGE=${BRIDGE:-fdtq0} SUBNET=${SUBNET:-10.79.0} WAY_OUT='' INSTALL=''
    export FOUNDRY_VM_POOL=${PREFIX}quickstart-vms FOUNDRY_IMAGE_POOL=${PREFIX}quickstart-images
    export FOUNDRY_STORAGE_PATH=/var/lib/libvirt/${PREFIX}quickstart
  fi
  BRIDGE=${BRIDGE:-br0} SUBNET=${SUBNET:-10.20.30}
  subnet_is "$SUBNET" || die "--subnet takes the first three numbers of an address, such as 10.20.30, not $SUBNET"
  KEY=$(cache_dir)/id_ed25519
  MANIFEST=$(cache_dir)/$VM.yaml
}

prepare() {
  step 'looking at the network' look_at_network
  step 'installing what is missing' install_packages
  look_at_network
  step 'building foundry' rust_build
  [[ -z $INSTALL ]] || step "putting it on the path" program_install
  step 'asking whether QEMU may use KVM' open_kvm
  step 'starting libvirt' start_libvirt
  step 'asking whether KVM works' choose_virt_type
  step 'getting an image' get_image
  step 'making an SSH key' key_make
}

# All in one transaction, so that nothing is decided on half of it.
install_packages() {
  local purposes=(build host) purpose names=''
  [[ -n $IMAGE ]] || purposes+=(guest)
  for purpose in "${purposes[@]}"; do
    names+=" $(package_list "$purpose")"
  done
  if ! rust_is_new_enough; then
    [[ $(package_family) != debian ]] || apt_update
    names+=" $(rust_packages)"
  fi
  # shellcheck disable=SC2086
  packages_install $names
  programs_check "${purposes[@]}"
  rust_check
}

# Before anything is changed, where that can be
look_at_network() {
  local taken
  # A plain machine has not even ip: then it is looked at behind the installation.
  command -v ip >/dev/null || return 0
  if bridge_exists "$BRIDGE"; then
    bridge_has_address
  elif taken=$(subnet_routes "$BRIDGE" | subnet_taken "$SUBNET"); then
    die "$SUBNET.0/24 is already routed on this machine: $taken" \
      "$(subnet_routes "$BRIDGE" | subnet_next_free "$SUBNET" | sed 's/^/the next free one: --subnet /')"
  fi
}

open_kvm() {
  KVM=$(kvm_open "$OPEN_KVM")
  note "$KVM_DEVICE: $([[ -e $KVM_DEVICE ]] && echo "$KVM" || echo 'missing')"
  # What is said on this run's behalf; settings_write says it for the next commands.
  [[ $KVM != closed ]] || export FOUNDRY_CALL_TIMEOUT=${FOUNDRY_CALL_TIMEOUT:-$KVM_CLOSED_CALL_TIMEOUT}
}

start_libvirt() {
  STARTED=$(libvirtd_start)
  note "libvirt: $STARTED"
}

# The probe runs as root, which may open what QEMU's user may not.
choose_virt_type() {
  if [[ -z ${FOUNDRY_VIRT_TYPE:-} && $KVM == closed ]]; then
    FOUNDRY_VIRT_TYPE=qemu
  fi
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
  step "making the bridge $BRIDGE" make_bridge
  step 'foundry image import' image_import
  step 'foundry create, until SSH answers' vm_create
  step 'logging in' vm_log_in
  step 'foundry list' foundry list
  step 'foundry get' foundry get "$VM"
  [[ -n $KEEP ]] || step 'foundry destroy' foundry destroy "$VM" --yes
}

# Another's bridge has another's rules.
make_bridge() {
  bridge_add "$BRIDGE" "$SUBNET.1/24" "$MARK"
  if [[ -n $WAY_OUT && $(bridge_maker "$BRIDGE") == "$MARK" ]]; then
    way_out_make "$BRIDGE" "$SUBNET"
  fi
}

# A bridge that was there before may have another network.
bridge_has_address() {
  [[ $(bridge_address "$BRIDGE") == "$SUBNET."* ]] \
    || die "there is a bridge $BRIDGE with the address $(bridge_address "$BRIDGE" | grep . || echo none)" \
      '--bridge NAME makes one of another name, --subnet A.B.C uses this one with its own network'
}

finish() {
  if [[ -n $PREFIX ]]; then
    bridge_remove "$BRIDGE" "$MARK"
  else
    step "writing this machine's settings" settings_write
    step 'writing a manifest for you' reader_manifest_write
  fi
  say "All of it took $(seconds $(($(now_ms) - BEGUN)))."
  [[ -n $PREFIX ]] || tell_the_rest
}

tell_the_rest() {
  local sudo='sudo ' call=foundry
  ((EUID != 0)) || [[ -n $(invoking_user) ]] || sudo=''
  [[ $(type -P foundry) == "$PROGRAM" ]] || call=$(rust_program foundry)
  say '' 'Left on this machine (scripts/quickstart.sh --undo takes it away):'
  note "the image $IMAGE_NAME; the manifest web.yaml; the program $call"
  note "the bridge $BRIDGE with $SUBNET.1/24${WAY_OUT:+, its NAT and its name server}, until the next boot; then run this script again"
  [[ $STARTED != 'by hand' ]] || note "libvirtd and virtlogd, started by hand, pids in $LIBVIRT_BY_HAND"
  [[ -z $KEEP ]] || note "the VM $VM: ssh -i $KEY $LOGIN@$SUBNET.10"
  say '' 'Go on with:'
  note "$sudo$call create web.yaml --wait=ssh"
  note "ssh root@$SUBNET.40"
  note "$sudo$call destroy web"
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
