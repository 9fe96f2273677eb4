# shellcheck shell=bash
# What README's next commands need, beyond the host itself: the program on the path, settings, the reader's key in a
# manifest. Needs the variables of scripts/quickstart.sh and log.sh, privilege.sh, made.sh, rust.sh.

PROGRAM=/usr/local/bin/foundry
SETTINGS=/etc/foundry/config.yaml

# The person who reads on: whoever called sudo, or this user
reader_home() {
  local user
  user=$(invoking_user)
  if [[ -n $user ]]; then
    getent passwd "$user" | cut -d: -f6
  else
    echo "$HOME"
  fi
}

program_install() {
  if made_put "$PROGRAM" 755 <"$(rust_program foundry)"; then
    note "installed as $PROGRAM"
  else
    warn "$PROGRAM exists and was not installed by this script, so it is kept; instead, run $(rust_program foundry)"
  fi
}

# Only what this machine needs to be told; without a need there is no file.
settings() {
  echo '# Written by scripts/quickstart.sh: settings for this machine.'
  if [[ $FOUNDRY_VIRT_TYPE == qemu && -e $KVM_DEVICE ]]; then
    echo "# $KVM_DEVICE exists, but no guest runs with it."
    echo 'virtType: qemu'
  fi
  if [[ $KVM == closed ]]; then
    echo "# $KVM_DEVICE is closed to QEMU, which makes libvirt slow: chgrp kvm $KVM_DEVICE && chmod 0660 $KVM_DEVICE"
    echo "callTimeout: $KVM_CLOSED_CALL_TIMEOUT"
  fi
}

settings_write() {
  local text
  text=$(settings)
  if [[ $text != *$'\n'* ]]; then
    ! made_is_ours "$SETTINGS" || made_remove "$SETTINGS"
    note 'no settings are needed'
  elif made_put "$SETTINGS" 644 <<<"$text"; then
    note "$SETTINGS: $(grep -v '^#' <<<"$text" | paste -sd,)"
  else
    warn "$SETTINGS is yours and is kept; on this machine it needs:" "$(grep -v '^#' <<<"$text")"
  fi
}

# The reader's own public key: a file, or what an agent has; else one is made, as ssh-keygen would name it.
reader_key() {
  local home file
  home=$(reader_home)
  for file in "$home"/.ssh/id_{ed25519,ecdsa,rsa,ed25519_sk,ecdsa_sk}.pub; do
    if [[ -s $file ]]; then
      head -n 1 "$file"
      return 0
    fi
  done
  ssh-add -L 2>/dev/null | head -n 1 | grep . || reader_key_make "$home/.ssh/id_ed25519"
}

reader_key_make() {
  if [[ -e $1 ]]; then
    as_builder ssh-keygen -y -P '' -f "$1" 2>/dev/null \
      || die "$1 has no $1.pub next to it" "ssh-keygen -y -f $1 >$1.pub, then run this again"
    return 0
  fi
  as_builder mkdir -p -m 700 "$(dirname "$1")"
  as_builder ssh-keygen -q -t ed25519 -N '' -f "$1" >&2
  note "you had no SSH key: created $1, without a passphrase"
  cat "$1.pub"
}

# The example, with the reader's key and this host's network
reader_manifest() {
  local key
  key=$(reader_key)
  echo '---'
  echo '# examples/simple-vm.yaml with your key, written by scripts/quickstart.sh. If you change it,'
  echo '# the script keeps your version.'
  sed -e '1,/^apiVersion/{/^apiVersion/!d}' -e "s/bridge: br0/bridge: $BRIDGE/" -e "s/10\.20\.30\./$SUBNET./" \
    -e "s/vcpus: .*/vcpus: $(vcpus)/" -e '/- ssh-/d' examples/simple-vm.yaml
  printf '      - %s\n' "$key"
}

reader_manifest_write() {
  local user
  if reader_manifest | made_put "$PWD/web.yaml" 644; then
    user=$(invoking_user)
    [[ -z $user ]] || as_root chown "$user:" "$PWD/web.yaml"
    note "web.yaml: a VM at $SUBNET.40 on $BRIDGE, with your key"
  else
    note 'web.yaml is yours and is kept'
  fi
}
