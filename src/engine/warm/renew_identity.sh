#!/bin/sh
# Makes a guest that started from saved memory another machine. $1 is the directory with its secrets, $2 the host name,
# $3 the full name or nothing, $4 the machine id, $5 the seconds since 1970, $6 the instance id. The random numbers come
# first: all that is generated afterwards depends on them.
set -eu
umask 022
d=$1
cat "$d/random" >/dev/urandom
unlink "$d/random"
rm -f /var/lib/systemd/random-seed /var/lib/urandom/random-seed /var/lib/seedrng/seed.*
date -u -s "@$5" >/dev/null 2>&1 || true
printf '%s\n' "$4" >/etc/machine-id
if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then
  printf '%s\n' "$4" >/var/lib/dbus/machine-id
fi
printf '%s\n' "$2" >/etc/hostname
printf '%s' "$2" >/proc/sys/kernel/hostname
hosts=$(sed '/^127\.0\.1\.1[[:space:]]/d' /etc/hosts 2>/dev/null || true)
printf '%s\n127.0.1.1 %s\n' "$hosts" "${3:+$3 }$2" >/etc/hosts
if [ -d /etc/ssh ]; then
  rm -f /etc/ssh/ssh_host_*
  (umask 077; cat "$d/key" >/etc/ssh/ssh_host_ed25519_key)
  cat "$d/public" >/etc/ssh/ssh_host_ed25519_key.pub
fi
if [ -s "$d/authorized" ]; then
  (umask 077; mkdir -p /root/.ssh)
  (umask 077; cat "$d/authorized" >/root/.ssh/authorized_keys)
fi
rm -rf "$d"
rm -f /run/systemd/netif/leases/* /var/lib/dhcp/*.lease* /var/lib/dhclient/*.lease* /var/lib/dhcpcd/* \
  /var/lib/NetworkManager/*.lease /var/lib/NetworkManager/secret_key 2>/dev/null || true
if [ -d /var/lib/cloud/data ]; then
  printf '%s\n' "$6" >/var/lib/cloud/data/instance-id
  : >/etc/cloud/cloud-init.disabled
fi
if [ -d /run/systemd/system ]; then
  systemctl try-restart systemd-journald systemd-networkd NetworkManager systemd-resolved ssh sshd 2>/dev/null || true
elif command -v rc-service >/dev/null; then
  for s in sshd networkmanager; do rc-service --ifstarted "$s" restart >/dev/null 2>&1 || true; done
fi
echo renewed
