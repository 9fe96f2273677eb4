#!/usr/bin/env bash
# test.sh - everything that CI checks, on a bare Debian machine, as root: installs what is missing, gives the tests
# a libvirt daemon, a bridge and two guests, runs all checks and takes these away again.
#
# Packages stay, and on Debian 12 so does the suite bookworm-backports among APT's sources, from which libvirt, QEMU and
# what they need are brought up to date: nothing else is upgraded, and nothing removed or downgraded. --teardown takes
# the suite away and lists the packages. A /dev/kvm that was opened to QEMU stays so until --teardown or the next boot.
# Builds, guests and tools stay in target/ and in ~/.cache/foundry-test.
#
#   scripts/test.sh               all that every change needs
#   scripts/test.sh --fast        without the Debian guest, the quickstart and the bare machines
#   scripts/test.sh --full        with what is slow and seldom needed: every fault at every call in place of a sample, a bare
#                                 Debian 13, builds and second runs on bare machines, the newer verbs on Debian 12's own
#                                 libvirt 9.0, fuzzing, packages: hours
#   scripts/test.sh --only STAGE  one stage of the table, with what it needs
#   scripts/test.sh --setup       only the environment, kept; prints it for: eval "$(scripts/test.sh --setup)"
#   scripts/test.sh --teardown    removes what --setup and aborted runs left
#   --open-kvm, --no-open-kvm     with any: whether a /dev/kvm that is closed to QEMU is opened, as udev's rule does (a
#                                 container's root: it is)
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for lib in log privilege cache apt apt_install packages libvirtd bridge kvm tools stages test_times signals leftovers debian_tree\
  way_out kvm_access bare test_env checks package_checks; do
  # shellcheck source=/dev/null
  . "$SCRIPTS/lib/$lib.sh"
done
cd "$SCRIPTS/.."

LOCK=/run/foundry-test.pid
RUN_MARK='foundry-test run'
SETUP_MARK='foundry-test setup'
QUICKSTART_BRIDGE=fdtq0
FAST=''
FULL=''
ONLY=''
export OPEN_KVM=''
CLEAN=yes

main() {
  local action=run
  signals_default "$@"
  while (($# > 0)); do
    case $1 in
      --fast) FAST=yes ;;
      --full) export FULL=yes STAGE_LIMIT=1200 ;;
      --only)
        ONLY=${2:?--only needs the name of a stage}
        shift
        ;;
      --setup | --teardown) action=${1#--} ;;
      --open-kvm) OPEN_KVM=yes ;;
      --no-open-kvm) OPEN_KVM=no ;;
      -h | --help) action=usage ;;
      *) die "unknown argument $1" 'scripts/test.sh --help' ;;
    esac
    shift
  done
  [[ $action == usage ]] || require_root scripts/test.sh
  borrow_toolchain
  mkdir -p "$(cache_dir)"
  "$action"
}

usage() {
  sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

setup() {
  step 'installing packages' env_packages
  step 'asking whether QEMU may use KVM' env_kvm_access
  step 'starting libvirt' env_libvirtd >&2
  step "making the bridge $TEST_BRIDGE" env_bridge "$SETUP_MARK"
  step 'asking whether KVM works' env_kvm
  step 'making a key' env_key
  step 'building the tiny guest' env_tiny
  [[ -n $FAST ]] || step 'building the Debian guest' env_debian
  step 'unpacking cloud-init' tool_cloud_init
  step 'getting just' tool_just
  step 'getting Ansible' tool_ansible
  env_print
}

teardown() {
  lock
  step "removing everything named $TEST_PREFIX*" leftovers_remove
  step 'removing the bridges' remove_bridges "$SETUP_MARK"
  step 'stopping the daemons started by hand' libvirtd_stop
  step 'closing /dev/kvm again, if it was opened' kvm_undo
  step 'taking the added suite away' apt_drop_suite bookworm-backports
  tell_packages
}

tell_packages() {
  local brought
  mapfile -t brought < <(apt_brought)
  ((${#brought[@]} > 0)) || return 0
  say 'Packages that these scripts installed, and that stay (apt-get remove takes away what you do not want):' \
    "    ${brought[*]}"
  [[ ! -s $SETUP_NOTES/upgraded ]] || say 'Packages that they upgraded, with the version before:' "$(sed 's/^/    /' "$SETUP_NOTES/upgraded")"
}

# One run at a time: they would remove each other's guests.
lock() {
  local other
  other=$(cat "$LOCK" 2>/dev/null || true)
  if [[ -n $other && -d /proc/$other ]]; then
    die "another run has the test bed (pid $other)"
  fi
  echo $$ >"$LOCK"
  trap 'rm -f "$LOCK"' EXIT
}

run() {
  lock
  STAGE_DIR=$(mktemp -d)
  trap 'finish $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  prepare
  pure_checks
  begin_side_work
  live_checks
  finish_side_work
}

wanted() {
  [[ -z $ONLY || $ONLY == "$1" ]]
}

# run_if_wanted NAME FUNCTION
run_if_wanted() {
  ! wanted "$1" || stage "$@"
}

# Only these need a host with guests.
needs_guests() {
  wanted unit || wanted live || wanted quickstart || wanted libvirt9
}

prepare() {
  stage packages env_packages
  stage_ok packages || return 0
  if needs_guests || wanted justfile; then
    stage just tool_just
  fi
  needs_guests || return 0
  CLEAN=''
  stage kvm-access env_kvm_access
  stage libvirtd start_libvirtd
  stage bridge env_bridge "$RUN_MARK"
  stage clean-start leftovers_remove
  env_key
  stage_background tiny env_tiny
  [[ -n $FAST ]] || stage_background debian env_debian
  stage cloud-init tool_cloud_init
  stage ansible tool_ansible
  stage kvm env_kvm
  env_export
}

# Remembers whether this run has started it, as it then stops it.
start_libvirtd() {
  libvirtd_start | tee "$STAGE_DIR/libvirtd-by"
}

# The release is built beside what only reads the sources: each of them waits for one crate after the other.
pure_checks() {
  ! wanted build || stage_background build check_build
  run_if_wanted fmt check_fmt
  run_if_wanted shellcheck check_shellcheck
  run_if_wanted justfile check_justfile
  run_if_wanted clippy check_clippy
  run_if_wanted doc check_doc
  stage_finish build
  run_if_wanted package-tree check_package_tree
  stage_finish tiny debian
  run_if_wanted unit check_unit
}

# The live tests wait for guests, and leave some of the processors idle.
begin_side_work() {
  if wanted bare && [[ -z $FAST && $ONLY != bare ]]; then
    stage_background bare check_bare_beside
  fi
  if wanted deny || wanted advisories; then
    stage_background cargo-deny tool_cargo_deny
  fi
}

finish_side_work() {
  finish_bare
  stage_finish cargo-deny
  run_if_wanted deny check_deny
  run_if_wanted advisories check_advisories
  ! wanted libvirt9 || stage_full libvirt9 check_libvirt9
  ! wanted hostile || stage_full hostile check_hostile
  ! wanted fuzz || stage_full fuzz check_fuzz
  ! wanted package || stage_full package check_package
}

live_checks() {
  local image=${FOUNDRY_TEST_DEBIAN:-}
  needs_guests || return 0
  if ! stage_ok libvirtd || ! stage_ok bridge || ! stage_ok tiny; then
    stage_leave_out live 'there is no host with a guest to run it on'
    return 0
  fi
  ! wanted live || stage_background live-own-host check_live_own_host
  run_if_wanted live check_live
  if [[ -n $FAST ]] || ! stage_ok debian; then
    ! wanted quickstart || stage_leave_out quickstart "no Debian guest${FAST:+ (--fast)}"
  elif wanted quickstart; then
    # An emulated Debian guest takes minutes: then the tiny one is enough, which goes the same way.
    [[ -n $FULL || $FOUNDRY_VIRT_TYPE == kvm ]] || image=$FOUNDRY_TEST_TINY
    stage quickstart check_quickstart "$image"
    # Any guest will do to see that it can be run again.
    stage_full quickstart-again check_quickstart "$FOUNDRY_TEST_TINY"
  fi
  stage_finish live-own-host
  stage leaks check_leaks
}

# Machines of their own, on which a newcomer begins: nothing of them meets the live tests.
finish_bare() {
  if [[ $ONLY == bare ]]; then
    stage bare check_bare
  elif [[ -n $FAST ]]; then
    ! wanted bare || stage_leave_out bare '--fast'
  else
    stage_finish bare
    ! stage_ok bare || cat "$STAGE_DIR/bare.log"
  fi
}

# remove_bridges MARK
remove_bridges() {
  bridge_remove "$TEST_BRIDGE" "$RUN_MARK"
  bridge_remove "$TEST_BRIDGE" "$1"
  bridge_remove "$QUICKSTART_BRIDGE" "$TEST_PREFIX"
}

clean_up() {
  [[ $(cat "$STAGE_DIR/libvirtd-by" 2>/dev/null) != 'by hand' ]] || libvirtd_revive
  leftovers_remove
  remove_bridges "$RUN_MARK"
  rm -rf --one-file-system /var/tmp/foundry-test-lane.*
  check_leaks
  if [[ $(cat "$STAGE_DIR/libvirtd-by" 2>/dev/null) == 'by hand' ]]; then
    libvirtd_stop
  fi
}

# Runs at every end: normal, failed, interrupted.
finish() {
  trap '' INT TERM
  set +e
  stage_stop_all
  [[ -n $CLEAN ]] || stage clean-up clean_up
  stage_table
  rm -rf "$STAGE_DIR" "$LOCK"
  (($1 == 0 && CHECKS_FAILED == 0)) || exit "$(($1 > 0 ? $1 : 1))"
}

main "$@"
