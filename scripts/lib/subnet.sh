# shellcheck shell=bash
# Is a network free on this machine? Pure, but for subnet_routes.

# "10.1.2.3" as a number
subnet_number() {
  local a b c d
  IFS=. read -r a b c d <<<"$1"
  echo $(((a << 24) + (b << 16) + (c << 8) + d))
}

# "NETWORK/BITS DEVICE" of each route and address, but for those of the bridge $1 itself
subnet_routes() {
  ip -4 route show table all | awk -v bridge="$1" '{
    if ($1 ~ /^(broadcast|multicast|anycast)$/) next
    to = $1 ~ /^(unicast|local|blackhole|unreachable|prohibit|throw)$/ ? $2 : $1
    if (to == "default") next
    if (to !~ /\//) to = to "/32"
    device = "-"
    for (i = 2; i < NF; i++) if ($i == "dev") device = $(i + 1)
    if (device != bridge) print to, device
  }'
}

# subnet_taken A.B.C: reads routes; prints the first that A.B.C.0/24 meets. A route of less than eight bits is a way
# out into the world, as those of VPNs are.
subnet_taken() {
  local own to device bits shift
  own=$(subnet_number "$1.0")
  while read -r to device; do
    bits=${to#*/}
    ((bits >= 8)) || continue
    shift=$((32 - (bits < 24 ? bits : 24)))
    if (($(subnet_number "${to%/*}") >> shift == own >> shift)); then
      echo "$to ($device)"
      return 0
    fi
  done
  return 1
}

# subnet_next_free A.B.C: reads routes; the first free network behind this one, then those of 192.168
subnet_next_free() {
  local routes head=${1%.*} third=${1##*.} candidate
  routes=$(cat)
  for candidate in $(seq -f "$head.%g" $((third + 1)) 254) $(seq -f '192.168.%g' 100 254); do
    if ! subnet_taken "$candidate" <<<"$routes" >/dev/null; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

# subnet_is A.B.C: three numbers of a private network, or one that was meant so
subnet_is() {
  local part
  [[ $1 =~ ^([0-9]{1,3}\.){2}[0-9]{1,3}$ ]] || return 1
  for part in ${1//./ }; do
    ((10#$part <= 255)) || return 1
  done
}
