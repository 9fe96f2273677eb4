# shellcheck shell=bash
# Installs what is missing, by the distribution's own means. Needs log.sh, privilege.sh, apt.sh.

# Names of packages by purpose, for the distribution at hand.
package_list() {
  case $(package_family):$1 in
    debian:build) echo 'gcc libc6-dev pkg-config libvirt-dev' ;;
    debian:host) echo 'qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients ovmf dnsmasq-base iproute2 openssh-client' ;;
    debian:guest) echo 'mmdebstrap mtools dosfstools e2fsprogs fdisk binutils kmod cpio lz4 zstd xz-utils' ;;
    debian:test) echo 'bzip2 dpkg-dev g++ gzip rpm xorriso genisoimage libxml2-utils python3-yaml shellcheck virtinst socat jq procps zsh fish mandoc man-db
      python3-configobj python3-jinja2 python3-jsonpatch python3-jsonschema python3-oauthlib python3-pyte python3-requests' ;;
    fedora:build) echo 'gcc pkgconf-pkg-config libvirt-devel' ;;
    fedora:host) echo 'qemu-kvm qemu-img libvirt-daemon-kvm libvirt-client edk2-ovmf dnsmasq iproute openssh-clients' ;;
    *) die "no packages are known for '$1' on $(os_release ID)" ;;
  esac
}

package_family() {
  if command -v apt-get >/dev/null; then
    echo debian
  elif command -v dnf >/dev/null; then
    echo fedora
  else
    die 'neither apt-get nor dnf is here' 'install QEMU, libvirt with its headers, OVMF, gcc and pkg-config by hand'
  fi
}

package_installed() {
  case $(package_family) in
    debian) [[ $(dpkg-query -W -f '${db:Status-Status} ' "$1" 2>/dev/null) == installed* ]] ;;
    fedora) rpm -q --quiet --whatprovides "$1" ;;
  esac
}

packages_missing() {
  local name
  for name in "$@"; do
    package_installed "$name" || echo "$name"
  done
}

# packages_install NAME...: nothing is run, not even an update of lists, when all of them are there.
packages_install() {
  local missing
  mapfile -t missing < <(packages_missing "$@")
  ((${#missing[@]} > 0)) || return 0
  note "installing ${missing[*]}"
  case $(package_family) in
    debian) apt_update && apt_install_from_some_suite "${missing[@]}" ;;
    fedora) quietly as_root dnf -q -y install "${missing[@]}" ;;
  esac
}

# Debian 12 with qemu-utils from backports already installed (several images ship it so) refuses the plain
# qemu-system-x86, because the two must match: then the rest has to come from backports, too.
apt_install_from_some_suite() {
  if apt_can_install "$@"; then
    apt_install "$@"
  elif [[ $(os_release VERSION_CODENAME) == bookworm ]]; then
    packages_install_backports "$@"
  else
    apt_install "$@"
  fi
}

packages_install_backports() {
  local suite
  suite=$(os_release VERSION_CODENAME)-backports
  apt_add_suite "$suite"
  apt_install -t "$suite" "$@"
}

# packages_install_newest NAME...: for the tests on Debian 12, whose libvirt 9.0 is too old for VLAN tags on a
# plain bridge (11.0). Everywhere else the same as packages_install.
packages_install_newest() {
  if [[ $(os_release VERSION_CODENAME) != bookworm ]]; then
    packages_install "$@"
  elif [[ -n $(packages_missing "$@") ]] || ! package_at_least libvirt-daemon-system 11.0; then
    note "installing from backports: $*"
    apt_update
    packages_install_backports "$@"
  fi
}

package_at_least() {
  dpkg --compare-versions "$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null)" ge "$2"
}
