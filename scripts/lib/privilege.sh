# shellcheck shell=bash
# Who runs what: changes to the host need root, compiling should not be done by it.

# Debian keeps the folders of ip, sfdisk and libvirtd out of a plain user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Variables that a command run through sudo must still see.
ROOT_KEEPS=FOUNDRY_VM_POOL,FOUNDRY_IMAGE_POOL,FOUNDRY_STORAGE_PATH,FOUNDRY_VIRT_TYPE,FOUNDRY_CONNECT,FOUNDRY_CALL_TIMEOUT,FOUNDRY_TEST_CACHE,NO_COLOR

as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    sudo --preserve-env="$ROOT_KEEPS" -- "$@"
  fi
}

# Asks for the password once, at the start, and not in the middle of a long run.
require_root_or_sudo() {
  ((EUID != 0)) || return 0
  command -v sudo >/dev/null || die 'root is needed for packages, the bridge and libvirt' 'run this as root, or install sudo'
  sudo -v || die 'sudo refused'
}

require_root() {
  ((EUID == 0)) || die "$1 must be run as root" "sudo $1"
}

# The person behind `sudo`, if there is one.
invoking_user() {
  if ((EUID == 0)) && [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
    echo "$SUDO_USER"
  fi
}

# as_builder COMMAND...: runs a build command as whoever has the Rust toolchain. Through sudo that is the
# invoking user, with a login shell's PATH and their own cargo home, so that nothing in target/ becomes root's.
as_builder() {
  local user
  user=$(invoking_user)
  if [[ -z $user ]]; then
    "$@"
  else
    sudo -H -u "$user" -- bash -lc 'PATH=$PATH:$HOME/.cargo/bin; cd "$1"; shift; exec "$@"' bash "$PWD" "$@"
  fi
}

# Inside `sudo`, root has often no cargo of its own: borrow the toolchain of the invoking user.
borrow_toolchain() {
  local user home
  user=$(invoking_user)
  if [[ -z $user ]] || command -v cargo >/dev/null; then
    return 0
  fi
  home=$(getent passwd "$user" | cut -d: -f6)
  [[ -x $home/.cargo/bin/cargo ]] || return 0
  export PATH=$home/.cargo/bin:$PATH RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
}
