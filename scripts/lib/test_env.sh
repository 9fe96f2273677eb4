# shellcheck shell=bash
# The environment of the live tests: the host with its bridge, two guest images, a key, and the variables that
# tests/support reads. Needs the other libraries.

TEST_BRIDGE=fdt0
TEST_BRIDGE_ADDRESS=10.77.0.1/24

# The toolchain's packages and libvirt's own must match: all of those in one installation.
env_packages() {
  # shellcheck disable=SC2046
  packages_install_newest $(package_list host) $(package_list build)
  # shellcheck disable=SC2046
  packages_install $(package_list guest) $(package_list test)
}

env_libvirtd() {
  note "libvirt: $(libvirtd_start)"
  virsh_system version --daemon
}

# env_bridge MAKER: a run's own bridge, or one that --setup keeps for many runs
env_bridge() {
  bridge_add "$TEST_BRIDGE" "$TEST_BRIDGE_ADDRESS" "$1"
}

env_tiny() {
  "$SCRIPTS/guest/tiny.sh" "$(cache_dir)/tiny.qcow2"
}

env_debian() {
  "$SCRIPTS/guest/debian.sh" "$(cache_dir)/debian.qcow2"
}

# A stage has no terminal to ask at: then it stays closed, unless a flag says otherwise.
env_kvm_access() {
  note "$KVM_DEVICE: $(kvm_open "${OPEN_KVM:-}")"
}

env_kvm() {
  kvm_probe >"$(cache_dir)/virt-type"
  note "guests run with $(<"$(cache_dir)/virt-type")"
}

env_key() {
  local key
  key=$(cache_dir)/id_ed25519
  [[ -s $key && -s $key.pub ]] || {
    rm -f "$key" "$key.pub"
    ssh-keygen -q -t ed25519 -N '' -C foundry-test -f "$key"
  }
}

# The variables, one `NAME=value` a line. With REQUIRE a test that lacks
# something fails instead of skipping itself; --fast has no Debian guest, so there it may skip.
env_variables() {
  local cache
  cache=$(cache_dir)
  echo "FOUNDRY_TEST_URI=$LIBVIRT_SYSTEM"
  echo "FOUNDRY_TEST_BRIDGE=$TEST_BRIDGE"
  echo "FOUNDRY_TEST_TINY=$cache/tiny.qcow2"
  if [[ -z ${FAST:-} ]]; then
    echo "FOUNDRY_TEST_DEBIAN=$cache/debian.qcow2"
    echo 'FOUNDRY_TEST_REQUIRE=1'
  fi
  [[ -z ${FULL:-} ]] || echo 'FOUNDRY_TEST_FULL=1'
  echo "FOUNDRY_TEST_SSH_KEY=$cache/id_ed25519"
  echo "FOUNDRY_VIRT_TYPE=$(cat "$cache/virt-type" 2>/dev/null || echo qemu)"
  echo "FOUNDRY_TEST_CLOUD_INIT=$cache/bin/cloud-init"
  echo 'FOUNDRY_TEST_PYTHON=/usr/bin/python3'
  echo "FOUNDRY_TEST_ANSIBLE=$(PATH=$cache/bin:$PATH command -v ansible-inventory || true)"
  echo "FOUNDRY_TEST_JUST=$(PATH=$cache/bin:$PATH command -v just || true)"
}

env_export() {
  local line
  while read -r line; do
    export "${line?}"
  done < <(env_variables)
}

# For `eval`
env_print() {
  local line
  while read -r line; do
    printf 'export %s=%q\n' "${line%%=*}" "${line#*=}"
  done < <(env_variables)
}
