# shellcheck shell=bash
# Builds the packages and installs each into a root of its own, in which nothing else is: neither needs a container, and
# the machine stays as it is. Needs log.sh, cache.sh, packages.sh, tools.sh, stages.sh.

# What the program may need at its start, and nothing else. Everything of libvirt's is in these two libraries; the rest
# is the C library's.
PACKAGE_LINKS='ld-linux-aarch64.so.1 ld-linux-x86-64.so.2 libc.so.6 libgcc_s.so.1 libm.so.6 libvirt-qemu.so.0 libvirt.so.0'

# What would be in them, for every run: to build them and to have lintian read them takes minutes.
check_package_tree() {
  scripts/package.sh --tree
  package_links target/release/foundry
  package_documents target/package/tree/usr/share/doc/foundry-vm
  package_completes target/package/tree vendor-completions
}

check_package() {
  local scratch
  tool_cargo_deb
  tool_cargo_generate_rpm
  PATH=$(tools_dir):$PATH scripts/package.sh
  package_links target/release/foundry
  scratch=$(cache_scratch package)
  package_in_deb target/package/*.deb "$scratch/deb"
  package_in_rpm target/package/*.rpm "$scratch/rpm"
  rm -rf "$scratch"
}

# A library that is linked by chance is missing on the next machine.
package_links() {
  local linked
  linked=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  package_links_only "$1" "$linked"
  ! grep -qF "${CARGO_HOME:-$HOME/.cargo}/registry" "$1" || package_wrong "$1 has its builder's paths in it"
  [[ $linked == *libvirt.so.0* ]] || package_wrong "$1 does not need libvirt"
}

# package_links_only WHAT LIBRARIES
package_links_only() {
  local name
  for name in $2; do
    [[ " $PACKAGE_LINKS " == *" $name "* ]] || package_wrong "$1 needs $name, which is not in PACKAGE_LINKS"
  done
}

# package_in_deb FILE ROOT: what it depends on is to be had here; installed and removed, it leaves nothing.
package_in_deb() {
  local deb
  deb=$(realpath "$1")
  package_says "$(dpkg-deb -f "$deb" Depends)" 'libvirt0 (>= ' 'libc6 (>= '
  package_says "$(dpkg-deb -f "$deb" Recommends)" libvirt-daemon-system qemu-system
  package_says "$(dpkg-deb -f "$deb" Package Conflicts Conffiles)" foundry-vm 'Conflicts: foundry'
  package_says "$(dpkg-deb --info "$deb" conffiles)" /etc/foundry/config.yaml
  apt-get -qq -s --no-install-recommends install "$deb" >/dev/null
  package_lint "$deb"
  package_root "$2"
  # Machines that are images of containers leave documents out.
  package_dpkg "$2" --path-include='/usr/share/*' -i "$deb" >/dev/null
  package_installed_well "$2" vendor-completions
  package_dpkg "$2" --purge foundry-vm >/dev/null
  package_gone "$2"
}

# What Debian has against it, apart from what scripts/lib/lintian-overrides gives the reasons for.
package_lint() {
  packages_install lintian
  lintian --allow-root --fail-on error,warning "$1"
}

package_dpkg() {
  dpkg --root="$1" --force-depends --force-not-root --log=/dev/null "${@:2}"
}

# package_in_rpm FILE ROOT
package_in_rpm() {
  local rpm requires
  rpm=$(realpath "$1")
  requires=$(rpm -qp --requires "$rpm")
  package_says "$requires" 'libvirt.so.0(' 'libc.so.6('
  package_links_only 'the .rpm' "$(sed -n 's/^\([^ (]*\.so\.[0-9]*\)(.*/\1/p' <<<"$requires" | sort -u)"
  [[ $requires != */bin/sh* ]] || package_wrong 'the .rpm needs a shell, and has no scripts'
  package_says "$(rpm -qp --recommends "$rpm")" libvirt-daemon-kvm qemu-kvm
  package_root "$2"
  rpm --root "$2" --dbpath /var/lib/rpm --nodeps --nosignature -i "$rpm"
  package_installed_well "$2" site-functions
  rpm --root "$2" --dbpath /var/lib/rpm -e foundry-vm
  package_gone "$2"
}

package_root() {
  mkdir -p "$1/var/lib/dpkg/"{info,updates} "$1/var/lib/rpm" "$1/tmp"
  : >"$1/var/lib/dpkg/status"
}

# package_installed_well ROOT ZSHFOLDER: the program runs, and what it brings is where its readers look.
package_installed_well() {
  local page
  [[ $("$1/usr/bin/foundry" --version) == "foundry $(package_version)" ]] || package_wrong "$1: another version"
  package_documents "$1/usr/share/doc/foundry-vm"
  package_completes "$1" "$2"
  for page in man1/foundry.1 man5/foundry.5 man7/foundry-guide.7; do
    package_has "$1" "usr/share/man/$page.gz"
  done
  zcat "$1/usr/share/man/man1/foundry-create.1.gz" | grep -q '^\.TH' || package_wrong 'foundry-create.1 is no man page'
  package_has "$1" etc/foundry/config.yaml
  ! grep -q '^[^#]' "$1/etc/foundry/config.yaml" || package_wrong 'the configuration decides something'
}

# package_documents FOLDER: what they link to is there.
package_documents() {
  local file link
  package_has "$1" README.md
  for file in "$1"/*.md; do
    while read -r link; do
      # Without the heading that it leads to
      [[ $link == http* || $link == '#'* ]] || package_has "$1" "${link%%#*}"
    done < <(grep -o ']([^)]*)' "$file" | sed 's/^](\(.*\))$/\1/')
  done
}

package_completes() {
  package_has "$1" "usr/share/zsh/$2/_foundry"
  package_has "$1" usr/share/fish/vendor_completions.d/foundry.fish
  # shellcheck disable=SC2016
  bash -c '. "$1" && complete -p foundry' bash "$1/usr/share/bash-completion/completions/foundry" >/dev/null \
    || package_wrong 'bash does not complete with what the package has'
}

# No file, that is: cargo-generate-rpm cannot make directories the package's own.
package_gone() {
  local left
  left=$(find "$1" -path "$1/var/lib" -prune -o -not -type d -print)
  [[ -z $left ]] || package_wrong "left behind: $left"
}

package_has() {
  [[ -s $1/$2 ]] || package_wrong "$1: there is no $2"
}

# package_says TEXT WORD...
package_says() {
  local word
  for word in "${@:2}"; do
    [[ $1 == *"$word"* ]] || package_wrong "'$word' is not in: $1"
  done
}

package_version() {
  sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1
}

package_wrong() {
  die "package: $1"
}
