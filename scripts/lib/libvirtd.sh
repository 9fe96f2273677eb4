# shellcheck shell=bash
# A libvirt daemon at qemu:///system: used if it answers, started through systemd if that runs, otherwise
# started by hand, and then only what was started by hand is stopped again. Needs log.sh and privilege.sh.

LIBVIRT_SYSTEM=qemu:///system
# Pid files of daemons started by hand: whoever stops them finds them here, also in another process.
LIBVIRT_BY_HAND=/run/foundry-libvirt

libvirtd_answers() {
  as_root timeout 20 virsh -q -c "$LIBVIRT_SYSTEM" uri >/dev/null 2>&1
}

libvirtd_wait() {
  local tries
  for ((tries = 0; tries < 50; tries++)); do
    ! libvirtd_answers || return 0
    sleep 0.2
  done
  die "libvirt does not answer at $LIBVIRT_SYSTEM"
}

# Prints `running`, `systemd` or `by hand`: how it came to answer.
libvirtd_start() {
  if libvirtd_answers; then
    echo running
  elif [[ -d /run/systemd/system ]]; then
    libvirtd_start_units
    libvirtd_wait
    echo systemd
  else
    libvirtd_start_by_hand
    libvirtd_wait
    echo 'by hand'
  fi
}

# Old and new packaging: one daemon for all, or one for each driver, started by their sockets.
libvirtd_start_units() {
  local driver
  if systemctl cat libvirtd.service >/dev/null 2>&1 && ! systemctl -q is-enabled virtqemud.socket 2>/dev/null; then
    quietly as_root systemctl start libvirtd
    return 0
  fi
  for driver in qemu network storage nodedev secret nwfilter; do
    quietly as_root systemctl start "virt${driver}d.socket"
  done
}

# virtlogd is not optional: a domain does not start without it.
libvirtd_start_by_hand() {
  local daemon
  as_root mkdir -p "$LIBVIRT_BY_HAND"
  for daemon in virtlogd $(libvirtd_main_daemons); do
    libvirtd_pid "$daemon" >/dev/null \
      || quietly as_root "$daemon" --daemon --pid-file "$LIBVIRT_BY_HAND/$daemon.pid"
  done
}

libvirtd_main_daemons() {
  if command -v libvirtd >/dev/null; then
    echo libvirtd
  else
    echo virtnetworkd virtstoraged virtnodedevd virtsecretd virtnwfilterd virtqemud
  fi
}

# The pid of a daemon that was started by hand and still runs. A pid file may be left from before a reboot,
# so the name is compared, too.
libvirtd_pid() {
  local pid
  pid=$(cat "$LIBVIRT_BY_HAND/$1.pid" 2>/dev/null) || return 1
  [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$1" ]] || return 1
  echo "$pid"
}

# Stops what was started by hand, in reverse order, and waits. Guests would go on running: remove them first.
libvirtd_stop() {
  local daemon pid
  for daemon in virtqemud virtnwfilterd virtsecretd virtnodedevd virtstoraged virtnetworkd libvirtd virtlogd; do
    if pid=$(libvirtd_pid "$daemon"); then
      as_root kill "$pid"
      libvirtd_wait_gone "$pid" || libvirtd_kill "$daemon" "$pid"
    fi
    as_root rm -f "$LIBVIRT_BY_HAND/$daemon.pid"
  done
  [[ ! -d $LIBVIRT_BY_HAND ]] || as_root rmdir "$LIBVIRT_BY_HAND"
}

# One that hangs does not take the signal for its end.
libvirtd_kill() {
  warn "$1 (pid $2) does not stop, so it is killed"
  as_root kill -9 "$2"
  libvirtd_wait_gone "$2" || true
}

# A daemon of ours that runs and does not answer would hold up everybody who asks it: it is started anew.
libvirtd_revive() {
  local daemon pid
  ! libvirtd_answers || return 0
  for daemon in $(libvirtd_main_daemons); do
    ! pid=$(libvirtd_pid "$daemon") || libvirtd_kill "$daemon" "$pid"
  done
  libvirtd_start_by_hand
  libvirtd_wait
}

libvirtd_wait_gone() {
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    [[ -d /proc/$1 ]] || return 0
    sleep 0.1
  done
  return 1
}
