# shellcheck shell=bash
# Programs that the checks need and no package of the distribution gives. All of them live in the cache, none is
# installed into the machine. Needs log.sh, cache.sh, apt.sh, packages.sh.

CARGO_DENY_VERSION=0.20.2
CARGO_FUZZ_VERSION=0.13.2
CARGO_DEB_VERSION=3.8.0
CARGO_GENERATE_RPM_VERSION=0.21.1
ANSIBLE_VERSION=2.19.14
JUST_VERSION=1.59.0
# The wheel rust-just of that version, for x86-64 and for aarch64
JUST_WHEEL_SHA256='3ee47f26e3aff917107602d57a08ede20df447f78dc4f9ceb08e57a883c56eb9 a305aa91fc425c44e3bcc7d5faae7b8c1503091d8e79aae1f6801dbdca478e20'
# Debian 12's cloud-init 22.4 has no schema for network-config.
CLOUD_INIT_AT_LEAST=24.1
CLOUD_INIT_NEWER_SUITE=trixie

tools_dir() {
  echo "$(cache_dir)/bin"
}

# There are no recent binaries of these in any package registry. They run for seconds, and are compiled in a third of the
# time without optimization: forty seconds to two minutes of a processor.
tool_cargo_deny() {
  tool_from_crate cargo-deny "$CARGO_DENY_VERSION"
}

tool_cargo_fuzz() {
  tool_from_crate cargo-fuzz "$CARGO_FUZZ_VERSION"
}

tool_cargo_deb() {
  tool_from_crate cargo-deb "$CARGO_DEB_VERSION"
}

tool_cargo_generate_rpm() {
  tool_from_crate cargo-generate-rpm "$CARGO_GENERATE_RPM_VERSION"
}

# tool_from_crate CRATE VERSION: compiled, unless that version is there. Some say their version without
# their name.
tool_from_crate() {
  local found
  found=$("$(tools_dir)/$1" --version 2>/dev/null) || true
  if [[ ${found#"$1 "} == "$2" ]]; then
    return 0
  fi
  nice -n 19 cargo install --quiet --locked --force --debug --root "$(cache_dir)" --target-dir "$(cache_scratch "$1")" \
    "$1@$2"
  rm -rf "$(cache_dir)/scratch-$1"
}

# The command runner, for the recipes in examples/justfile: from the distribution, else a wheel, else compiled.
tool_just() {
  local bin
  bin=$(tools_dir)/just
  if command -v just >/dev/null || [[ -x $bin ]]; then
    return 0
  elif [[ $(package_family) == debian ]] && apt_solves just; then
    apt_install just
  elif ! tool_from_wheel rust-just "$JUST_VERSION" just "$JUST_WHEEL_SHA256"; then
    cargo install --quiet --locked --root "$(cache_dir)" "just@$JUST_VERSION"
  fi
}

# tool_from_wheel PROJECT VERSION PROGRAM SHA256S: a wheel is a zip file, and its program needs no Python. Of another
# content than these digests it is refused.
tool_from_wheel() {
  local scratch found digest
  scratch=$(cache_scratch "$3")
  {
    printf '%s' "$1==$2"
    for digest in $4; do printf ' --hash=sha256:%s' "$digest"; done
  } >"$scratch/wanted"
  python3 -m pip -q download --no-deps --only-binary :all: --require-hashes -r "$scratch/wanted" -d "$scratch" >/dev/null 2>&1 \
    || return 1
  (cd "$scratch" && python3 -m zipfile -e ./*.whl .)
  found=$(find "$scratch" -path "*/scripts/$3" -type f)
  [[ -n $found ]] || return 1
  mkdir -p "$(tools_dir)"
  install -m 755 "$found" "$(tools_dir)/$3"
  rm -rf "$scratch"
}

# Ansible, for examples/ansible. Its tests are skipped if it is not to be had, as on a machine without a package index.
tool_ansible() {
  local target name
  target=$(cache_dir)/ansible-$ANSIBLE_VERSION
  if [[ ! -x $target/bin/ansible-inventory ]]; then
    rm -rf "$target"
    python3 -m pip -q install --target "$target" "ansible-core==$ANSIBLE_VERSION" >/dev/null 2>&1 || {
      rm -rf "$target"
      note "ansible-core $ANSIBLE_VERSION is not to be had here: the tests of the inventory with it are skipped"
      return 0
    }
  fi
  mkdir -p "$(tools_dir)"
  for name in ansible ansible-inventory ansible-playbook; do
    printf '#!/bin/sh\nPYTHONPATH=%q exec %q "$@"\n' "$target" "$target/bin/$name" >"$(tools_dir)/$name"
    chmod 755 "$(tools_dir)/$name"
  done
}

# `cloud-init schema` without installing cloud-init, whose services would run at the machine's next start:
# the package is unpacked, the Python modules it needs come from the machine's own packages.
tool_cloud_init() {
  local wrapper key scratch
  wrapper=$(tools_dir)/cloud-init
  key=$(cache_key "$CLOUD_INIT_AT_LEAST $CLOUD_INIT_NEWER_SUITE $(os_release VERSION_CODENAME)" "${BASH_SOURCE[0]}")
  if cache_is_current "$wrapper" "$key"; then
    return 0
  fi
  scratch=$(cache_scratch cloud-init)
  cloud_init_unpack "$scratch"
  rm -rf "$(cache_dir)/cloud-init"
  mv "$scratch/tree/usr/lib/python3/dist-packages" "$(cache_dir)/cloud-init"
  cloud_init_wrapper >"$scratch/wrapper"
  chmod 755 "$scratch/wrapper"
  mkdir -p "$(tools_dir)"
  cache_store "$scratch/wrapper" "$wrapper" "$key"
  rm -rf "$scratch"
}

# From the machine's own suite if that is new enough, else from a newer one of the same mirror.
cloud_init_unpack() {
  local own
  own=$(apt-cache policy cloud-init | awk '/Candidate:/ { print $2 }')
  if dpkg --compare-versions "$own" ge "$CLOUD_INIT_AT_LEAST"; then
    apt_fetch "$1" cloud-init
  else
    apt_private "$1/apt" "$CLOUD_INIT_NEWER_SUITE"
    APT_CONFIG=$1/apt/apt.conf apt_fetch "$1" cloud-init
  fi
}

cloud_init_wrapper() {
  cat <<WRAPPER
#!/bin/sh
PYTHONPATH='$(cache_dir)/cloud-init' exec /usr/bin/python3 -m cloudinit.cmd.main "\$@"
WRAPPER
}
