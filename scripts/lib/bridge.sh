# shellcheck shell=bash
# A Linux bridge with an address, for guests to be reached at. Needs privilege.sh and log.sh.
# Who made a bridge is written on the bridge itself (its alias), so that only its maker removes it, even
# after a run that was killed.

bridge_exists() {
  [[ -d /sys/class/net/$1/bridge ]]
}

# The mark that some maker left; empty for a bridge of the machine's owner.
bridge_maker() {
  cat "/sys/class/net/$1/ifalias" 2>/dev/null || true
}

# bridge_add NAME CIDR MAKER: an existing bridge is used as it is.
bridge_add() {
  if bridge_exists "$1"; then
    note "the bridge $1 is already there"
    return 0
  fi
  [[ ! -e /sys/class/net/$1 ]] || die "$1 is a network interface, but not a bridge"
  as_root ip link add "$1" type bridge
  as_root ip link set "$1" alias "$3"
  as_root ip addr add "$2" dev "$1"
  as_root ip link set "$1" up
}

# bridge_remove NAME MAKER: does nothing to a bridge of anybody else.
bridge_remove() {
  bridge_exists "$1" || return 0
  [[ $(bridge_maker "$1") == "$2" ]] || return 0
  as_root ip link delete "$1" type bridge
}

# An address of this bridge, as 10.1.2.3/24
bridge_address() {
  ip -o -4 addr show dev "$1" | awk 'NR == 1 { print $4 }'
}
