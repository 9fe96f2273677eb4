# shellcheck shell=bash
# A way out for the guests on a bridge until the next boot: NAT, forwarding, a name server. Each thing that was changed is noted,
# and only what was noted is undone. Needs log.sh, privilege.sh.

# Gone at the next boot, as what it tells of
WAY_OUT_NOTES=${WAY_OUT_NOTES:-/run/foundry-quickstart}

# way_out_rules BRIDGE A.B.C: a line for each rule: its table, its chain, the rest
way_out_rules() {
  echo "nat POSTROUTING -s $2.0/24 ! -d $2.0/24 -j MASQUERADE"
  echo "filter FORWARD -i $1 -s $2.0/24 -j ACCEPT"
  echo "filter FORWARD -o $1 -d $2.0/24 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
}

# way_out_make BRIDGE A.B.C
way_out_make() {
  as_root mkdir -p "$WAY_OUT_NOTES"
  way_out_forward "$1"
  way_out_nat "$1" "$2"
  way_out_names "$1" "$2"
}

way_out_note() {
  echo "$2" | as_root tee -a "$WAY_OUT_NOTES/$1" >/dev/null
}

way_out_forward() {
  [[ $(</proc/sys/net/ipv4/ip_forward) == 0 ]] || return 0
  note 'this machine forwards packets from now on (net.ipv4.ip_forward was 0)'
  way_out_note "$1.forward" 0
  echo 1 | as_root tee /proc/sys/net/ipv4/ip_forward >/dev/null
}

# First in their chains: others may end in a refusal, as those of firewalls and of Docker do.
way_out_nat() {
  local table chain rest
  while read -r table chain rest; do
    # shellcheck disable=SC2086
    if ! as_root iptables -w -t "$table" -C "$chain" $rest 2>/dev/null; then
      as_root iptables -w -t "$table" -I "$chain" $rest
      way_out_note "$1.rules" "$table $chain $rest"
    fi
  done < <(way_out_rules "$1" "$2")
  note "guests of $2.0/24 reach what this machine reaches (NAT by iptables)"
}

# The examples' guests ask the gateway for names. Somebody's own name server on that address is as good.
way_out_names() {
  if ! way_out_dnsmasq "$1" "$2"; then
    warn "no name server was started at $2.1 (dnsmasq says why, above): guests have a way out, and no names"
  fi
}

way_out_dnsmasq() {
  local pid
  if pid=$(way_out_dnsmasq_pid "$1"); then
    note "dnsmasq answers the guests at $2.1 (pid $pid)"
    return 0
  fi
  as_root dnsmasq --conf-file=/dev/null --interface="$1" --except-interface=lo --bind-interfaces --listen-address="$2.1" \
    --no-hosts --pid-file="$WAY_OUT_NOTES/$1.dnsmasq" || return 1
  note "dnsmasq answers the guests at $2.1"
}

# A pid can be another process's by now.
way_out_dnsmasq_pid() {
  local pid
  pid=$(cat "$WAY_OUT_NOTES/$1.dnsmasq" 2>/dev/null) || return 1
  [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dnsmasq ]] || return 1
  echo "$pid"
}

# way_out_undo BRIDGE: what was noted, newest first
way_out_undo() {
  local pid rules rule
  if pid=$(way_out_dnsmasq_pid "$1"); then
    as_root kill "$pid"
  fi
  mapfile -t rules < <(cat "$WAY_OUT_NOTES/$1.rules" 2>/dev/null)
  for rule in "${rules[@]}"; do
    way_out_undo_rule "$rule"
  done
  [[ ! -e $WAY_OUT_NOTES/$1.forward ]] || echo 0 | as_root tee /proc/sys/net/ipv4/ip_forward >/dev/null
  as_root rm -f "$WAY_OUT_NOTES/$1".{dnsmasq,rules,forward}
  [[ ! -d $WAY_OUT_NOTES ]] || as_root rmdir --ignore-fail-on-non-empty "$WAY_OUT_NOTES"
}

way_out_undo_rule() {
  local table chain rest
  read -r table chain rest <<<"$1"
  # shellcheck disable=SC2086
  as_root iptables -w -t "$table" -D "$chain" $rest 2>/dev/null || note "gone already: iptables -t $1"
}
