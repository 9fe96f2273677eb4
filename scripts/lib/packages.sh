# shellcheck shell=bash
# Installs what is missing, by the distribution's own means. Needs log.sh, privilege.sh, apt.sh,
# apt_install.sh.

# Names of packages by purpose, for the distribution at hand.
package_list() {
  case $(package_family):$1 in
    debian:build) echo 'gcc libc6-dev pkg-config libvirt-dev' ;;
    debian:host) echo 'qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients ovmf dnsmasq-base iproute2 iptables openssh-client' ;;
    debian:guest) echo 'mmdebstrap mtools dosfstools e2fsprogs fdisk binutils kmod cpio lz4 zstd xz-utils' ;;
    debian:test) echo 'bzip2 curl dpkg-dev g++ gzip rpm xorriso genisoimage libxml2-utils python3-yaml shellcheck virtinst socat jq procps zsh fish mandoc man-db slirp4netns
      python3-configobj python3-jinja2 python3-jsonpatch python3-jsonschema python3-oauthlib python3-pyte python3-requests' ;;
    fedora:build) echo 'gcc pkgconf-pkg-config libvirt-devel' ;;
    fedora:host) echo 'qemu-kvm qemu-img libvirt-daemon-kvm libvirt-client edk2-ovmf dnsmasq iproute iptables-nft openssh-clients' ;;
    *) die "no packages are known for '$1' on $(os_release ID)" ;;
  esac
}

package_family() {
  if command -v apt-get >/dev/null; then
    echo debian
  elif command -v dnf >/dev/null; then
    echo fedora
  else
    die 'neither apt-get nor dnf was found' 'install QEMU, libvirt with its headers, OVMF, gcc and pkg-config by hand'
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

# packages_install NAME...: in one transaction. Nothing is run, not even an update of lists, when all are there.
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

# packages_install_newest NAME...: for the tests on Debian 12, whose libvirt 9.0 is too old for VLAN tags on a
# plain bridge (11.0). Everywhere else the same as packages_install.
packages_install_newest() {
  if [[ $(os_release VERSION_CODENAME) != bookworm ]]; then
    packages_install "$@"
  elif [[ -n $(packages_missing "$@") ]] || ! package_at_least libvirt-daemon-system 11.0; then
    note "installing from backports: $*"
    apt_update
    apt_install_backports bookworm-backports "$@"
  fi
}

package_at_least() {
  dpkg --compare-versions "$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null)" ge "$2"
}

# What must be there after package_list's packages: a package can be there without its program. `A|B`: either.
program_list() {
  case $1 in
    build) echo 'cc pkg-config' ;;
    host) echo 'qemu-system-x86_64|/usr/libexec/qemu-kvm qemu-img virsh libvirtd|virtqemud virtlogd dnsmasq ip iptables ssh ssh-keygen' ;;
    guest) echo 'mmdebstrap mcopy mkfs.vfat mke2fs sfdisk objcopy modinfo cpio lz4 zstd xz' ;;
    *) die "no programs are known for '$1'" ;;
  esac
}

# programs_missing PURPOSE...
programs_missing() {
  local purpose name
  for purpose in "$@"; do
    for name in $(program_list "$purpose"); do
      command -v "${name%%|*}" >/dev/null || command -v "${name##*|}" >/dev/null || echo "$name"
    done
  done
}

# programs_check PURPOSE...: said here, not by a later step that fails without one
programs_check() {
  local missing
  mapfile -t missing < <(programs_missing "$@")
  ((${#missing[@]} == 0)) || die "not on this machine after installing: ${missing[*]}" \
    'its package is installed, but not whole: apt-get install --reinstall (dnf reinstall) brings it back'
}
