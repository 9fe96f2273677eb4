#!/bin/sh
# The tiny guest's first and only program. Reads a NoCloud seed (any disk labelled cidata), sets the hostname,
# the network and the SSH keys, starts dropbear and prints one line that begins with TINY-READY on the serial
# console. The power button switches it off. It knows nothing else of cloud-init.
export PATH=/bin:/sbin

SEED=/run/seed
HOST=tiny
NICS=
SSH=off

mount_kernel_filesystems() {
  mount -t proc proc /proc
  mount -t sysfs sys /sys
  mount -t devtmpfs dev /dev
  mkdir -p /dev/pts
  mount -t devpts pts /dev/pts
  mount -t tmpfs run /run
}

load_modules() {
  while read -r module; do
    insmod "/lib/modules/$module" 2>/dev/null
  done </lib/modules/order
}

# Disks appear a little after their drivers.
find_seed() {
  tries=0
  while [ $tries -lt 15 ]; do
    for device in /dev/sr* /dev/vd? /dev/sd?; do
      [ -b "$device" ] || continue
      # shellcheck disable=SC2018,SC2019
      label=$(dd if="$device" bs=1 skip=32808 count=32 2>/dev/null | tr -d ' ' | tr A-Z a-z)
      [ "$label" != cidata ] || { echo "$device"; return; }
    done
    tries=$((tries + 1))
    sleep 0.1
  done
}

read_seed() {
  mkdir -p $SEED
  touch $SEED/user-data $SEED/meta-data $SEED/network-config $SEED/vendor-data
  [ -n "$1" ] && mount -t iso9660 -o ro "$1" /mnt || return
  cp /mnt/* $SEED/
  umount /mnt
}

# value_of FILE KEY: a scalar in YAML or JSON, with or without quotes, such as hostname but not local-hostname
value_of() {
  tr -d "\"'\r" <"$SEED/$1" | grep -oE "(^|[{, ])$2: *[A-Za-z0-9.-]+" | head -n 1 | sed 's/.*: *//'
}

set_hostname() {
  name=$(value_of user-data hostname)
  [ -n "$name" ] || name=$(value_of user-data fqdn)
  [ -n "$name" ] || name=$(value_of meta-data local-hostname)
  [ -z "$name" ] || HOST=${name%%.*}
  hostname "$HOST"
  echo "127.0.0.1 localhost $HOST" >/etc/hosts
}

# A MAC address, or without one the name, says which interface is meant.
find_nic() {
  for path in /sys/class/net/*; do
    nic=${path##*/}
    [ "$nic" != lo ] || continue
    [ "$(cat "$path/address")" != "$2" ] || { echo "$nic"; return; }
    [ "$2" != - ] || [ "$nic" != "$1" ] || { echo "$nic"; return; }
  done
}

words() {
  [ "$1" = - ] || echo "$1" | tr , ' '
}

set_network() {
  ip link set lo up
  tr -d "\"'\r" <$SEED/network-config | awk -f /etc/network.awk >/run/network
  while read -r name mac addresses gateway servers dhcp; do
    nic=$(find_nic "$name" "$mac")
    [ -n "$nic" ] || continue
    ip link set "$nic" up
    NICS="$NICS $nic=$(cat "/sys/class/net/$nic/address")"
    for address in $(words "$addresses"); do ip addr add "$address" dev "$nic"; done
    [ "$gateway" = - ] || ip route add default via "$gateway"
    for server in $(words "$servers"); do echo "nameserver $server" >>/etc/resolv.conf; done
    [ "$dhcp" != yes ] || udhcpc -i "$nic" -s /etc/dhcp -x "hostname:$HOST" -n -q -t 10 -T 1 >/dev/null 2>&1
  done </run/network
}

# An ed25519 host key from the seed (ssh_keys) is used, so that known_hosts can be prepared; else one is made.
set_host_key() {
  key=/etc/dropbear/dropbear_ed25519_host_key
  sed -n '/BEGIN OPENSSH PRIVATE KEY/,/END OPENSSH PRIVATE KEY/{s/^ *//;p;/END OPENSSH/q}' $SEED/user-data $SEED/vendor-data >/run/host-key
  [ -s /run/host-key ] && dropbearconvert openssh dropbear /run/host-key $key >/dev/null 2>&1 && return
  dropbearkey -t ed25519 -f $key >/dev/null 2>&1
}

start_ssh() {
  grep -hoE '(ssh-(ed25519|rsa)|ecdsa-sha2-nistp[0-9]+) [A-Za-z0-9+/=]+' $SEED/user-data $SEED/meta-data \
    >/root/.ssh/authorized_keys || return
  chmod 700 /root /root/.ssh
  chmod 600 /root/.ssh/authorized_keys
  set_host_key
  dropbear -s -r $key && SSH=on
}

# The kernel starts with one (tiny.sh says why).
take_processors() {
  for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
    [ ! -e "$cpu" ] || echo 1 >"$cpu"
  done
}

joined() {
  echo "$@" | tr ' ' ,
}

announce() {
  efi=no disks=
  [ ! -d /sys/firmware/efi ] || efi=yes
  for disk in /sys/block/[vs]d* /sys/block/sr*; do
    [ ! -e "$disk" ] || disks="$disks ${disk##*/}:$(cat "$disk/size")"
  done
  addresses=$(ip -o -4 addr show scope global | awk '{ print $4 }')
  # shellcheck disable=SC2086
  echo "TINY-READY host=$HOST ip=$(joined $addresses) nic=$(joined $NICS) disks=$(joined $disks)" \
    "seed=${1:-none} ssh=$SSH efi=$efi uptime=$(cut -d' ' -f1 /proc/uptime)s kernel=$(uname -r)"
}

mount_kernel_filesystems
exec </dev/ttyS0 >/dev/ttyS0 2>&1
load_modules
seed=$(find_seed)
read_seed "$seed"
set_hostname
set_network
take_processors
start_ssh
# It keeps its log and pid file below /var.
acpid >/dev/null 2>&1
announce "$seed"
while :; do
  setsid sh -c 'exec sh -i </dev/ttyS0 >/dev/ttyS0 2>&1'
  sleep 1
done
