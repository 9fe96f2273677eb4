# Reads a network-config (version 2, quotes already removed) and prints one line for each interface:
#   name mac addresses gateway nameservers dhcp4
# Lists are joined by commas, `-` stands for nothing. Block and flow style, with and without the outer `network:`.

function or_dash(s) { return s == "" ? "-" : s }

function append(list, item) { return list == "" ? item : list "," item }

# After each route: only a default route counts.
function end_route() {
  if (via != "" && (to == "" || to == "default" || to == "0.0.0.0/0")) gateway = via
  to = ""; via = ""
}

function end_interface() {
  end_route()
  if (name != "") print name, or_dash(mac), or_dash(addresses), or_dash(gateway), or_dash(servers), dhcp
  name = ""; mac = ""; addresses = ""; gateway = ""; servers = ""; dhcp = "no"; in_servers = 0
}

# The value of `key:` in s, empty if it is not there
function value(s, key,    v) {
  if (!match(s, "(^|[ {,-])" key ": *[^ ,}]+")) return ""
  v = substr(s, RSTART, RLENGTH)
  sub(".*" key ": *", "", v)
  return v
}

# One line, or one flow-style mapping out of it
function read_part(s,    v) {
  if ((v = value(s, "macaddress")) != "") mac = tolower(v)
  if ((v = value(s, "gateway4")) != "") gateway = v
  if ((v = value(s, "dhcp4")) != "") dhcp = (v ~ /^(true|yes|on)$/) ? "yes" : "no"
  if ((v = value(s, "to")) != "") to = v
  if ((v = value(s, "via")) != "") via = v
  if (s ~ /nameservers:/) { in_servers = 1; servers_indent = indent }
  if (in_servers) {
    while (match(s, /[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+/)) {
      servers = append(servers, substr(s, RSTART, RLENGTH))
      s = substr(s, RSTART + RLENGTH)
    }
  } else if (s !~ /to:/) {
    while (match(s, /[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+\/[0-9]+/)) {
      addresses = append(addresses, substr(s, RSTART, RLENGTH))
      s = substr(s, RSTART + RLENGTH)
    }
  }
}

BEGIN { dhcp = "no" }
/^ *#/ || NF == 0 { next }
{ match($0, /^ */); indent = RLENGTH }
/^ *ethernets:/ { base = indent; child = -1; inside = 1; next }
inside && indent <= base { end_interface(); inside = 0 }
!inside { next }
child < 0 { child = indent }
indent == child { end_interface(); name = $1; sub(/:.*/, "", name) }
in_servers && indent <= servers_indent { in_servers = 0 }
/^ *- / { end_route() }
{
  parts = split($0, part, "{")
  for (i = 1; i <= parts; i++) {
    if (i > 1 && !in_servers) end_route()
    read_part(part[i])
  }
}
END { end_interface() }
