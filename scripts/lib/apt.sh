# shellcheck shell=bash
# APT beyond `apt-get install` (apt_install.sh): further suites of the mirror that the machine itself uses.
# Needs log.sh and privilege.sh.

# A value of /etc/os-release, such as ID or VERSION_CODENAME.
os_release() {
  # shellcheck source=/dev/null
  (. /etc/os-release && printf '%s\n' "${!1:-}")
}

apt_update() {
  quietly as_root apt-get -qq update
}

# On a machine that never fetched its lists, apt knows no package at all.
apt_ready() {
  [[ -n $(apt_mirror Debian) ]] || apt_update
}

# "LABEL|CODENAME|URI|FILE:POSITION" of every source that this machine has. apt does not say this before
# the first update has fetched its lists.
apt_sources() {
  apt-get indextargets --format "\$(LABEL)|\$(CODENAME)|\$(REPO_URI)|\$(SOURCESENTRY)" 'Created-By: Packages'
}

# apt_mirror LABEL: the URI of that archive, such as Debian or Debian-Security
apt_mirror() {
  apt_sources | awk -F'|' -v label="$1" '$1 == label && !n++ { print $3 }'
}

# apt_keyring LABEL: the Signed-By of that archive's source, empty if it has none. A position is a line in
# a .list file and a stanza in a .sources file.
apt_keyring() {
  local entry file position
  entry=$(apt_sources | awk -F'|' -v label="$1" '$1 == label && !n++ { print $4 }')
  file=${entry%:*} position=${entry##*:}
  case $file in
    *.sources) awk -v RS='' -v n="$position" 'NR == n' "$file" | sed -n 's/^Signed-By: *\(.*\)/\1/p' ;;
    *) sed -n "${position}s/.*signed-by=\([^] ]*\).*/\1/p" "$file" ;;
  esac
}

# One line for a sources.list: another suite of the machine's own mirror, checked with the same keys.
apt_suite_line() {
  local keyring
  keyring=$(apt_keyring Debian)
  printf 'deb %s%s %s main\n' "${keyring:+[signed-by=$keyring] }" "$(apt_mirror Debian)" "$1"
}

apt_has_suite() {
  [[ -n $(apt_sources | awk -F'|' -v suite="$1" '$2 == suite') ]]
}

# Where scripts write a suite that they add
apt_suite_file() {
  echo "${APT_SOURCES:-/etc/apt/sources.list.d}/foundry-$1.list"
}

# Adds a suite to the machine's own sources. Backports are never taken by themselves: apt ranks them lowest.
apt_add_suite() {
  ! apt_has_suite "$1" || return 0
  say "adding the suite $1 of this machine's mirror to its APT sources: $(apt_suite_file "$1")"
  apt_suite_line "$1" | as_root tee "$(apt_suite_file "$1")" >/dev/null
  apt_update
}

# apt_drop_suite SUITE: only a source that scripts added, which has a file of its own
apt_drop_suite() {
  [[ -e $(apt_suite_file "$1") ]] || return 0
  as_root rm -f "$(apt_suite_file "$1")"
  apt_update
  note "the suite $1, which was added to the APT sources, is removed; packages from it are kept"
}

# apt_private DIR SUITE: makes a configuration that knows only SUITE and writes only below DIR, for looking
# into a suite that the machine must not install from. Used as `APT_CONFIG=DIR/apt.conf apt-get ...`.
apt_private() {
  mkdir -p "$1/lists/partial" "$1/cache/archives/partial"
  : >"$1/status"
  apt_suite_line "$2" >"$1/sources.list"
  cat >"$1/apt.conf" <<CONF
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$1/lists";
Dir::State::status "$1/status";
Dir::Cache "$1/cache";
APT::Sandbox::User "root";
CONF
  APT_CONFIG=$1/apt.conf quietly apt-get -qq update
}

# apt_download PACKAGE...: into the current folder. A mirror drops a version when it is replaced, so lists
# of yesterday may name files that are gone.
apt_download() {
  apt-get -qq -o APT::Sandbox::User=root download "$@" >/dev/null 2>&1 || {
    apt_update
    quietly apt-get -qq -o APT::Sandbox::User=root download "$@"
  }
}

# apt_fetch DIR PACKAGE...: downloads packages without installing them, then unpacks them all into DIR/tree.
# Honours APT_CONFIG.
apt_fetch() {
  local dir=$1 package
  shift
  mkdir -p "$dir/debs" "$dir/tree"
  (cd "$dir/debs" && apt_download "$@")
  for package in "$dir"/debs/*.deb; do
    dpkg-deb -x "$package" "$dir/tree"
  done
}
