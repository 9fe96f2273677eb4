# shellcheck shell=bash
# A Rust toolchain that is new enough, and the program built with it. Needs log.sh, privilege.sh, packages.sh.

# The oldest Rust that the project compiles with
rust_wanted() {
  sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml
}

rust_version() {
  as_builder rustc --version 2>/dev/null | awk '{ print $2 }'
}

# version_at_least HAVE WANTED
version_at_least() {
  [[ -n $1 && $(printf '%s\n%s\n' "$2" "$1" | sort -V | sed -n 1p) == "$2" ]]
}

# What the distribution would install; empty if it has none
rust_of_distribution() {
  case $(package_family) in
    debian) apt-cache policy rustc | sed -n 's/^  Candidate: \([0-9.]*\).*/\1/p' ;;
    fedora) dnf -q repoquery --latest-limit 1 --qf '%{version}\n' rust 2>/dev/null ;;
  esac
}

rust_is_new_enough() {
  as_builder cargo --version >/dev/null 2>&1 && version_at_least "$(rust_version || true)" "$(rust_wanted)"
}

# The packages that a new enough Rust needs: none if it is here. Ends where there is no way to one.
rust_packages() {
  ! rust_is_new_enough || return 0
  version_at_least "$(rust_of_distribution)" "$(rust_wanted)" \
    || die "foundry needs Rust $(rust_wanted) or newer; this machine has $(rust_version || echo none), and $(os_release PRETTY_NAME) has no newer one" \
      'install a current one with rustup, see rustup.rs, then run this again'
  echo 'cargo rustc'
}

rust_check() {
  rust_is_new_enough || die "cargo and Rust $(rust_wanted) are not on the path after installing"
  note "Rust $(rust_version)"
}

# For tests: QUICKSTART_PROGRAM is a foundry that is built, in place of the one to build. All that a build needs is
# installed all the same.
rust_build() {
  if [[ -n ${QUICKSTART_PROGRAM:-} ]]; then
    note "using $QUICKSTART_PROGRAM"
    return 0
  fi
  as_builder scripts/lib/cargo_release.sh build --quiet --release --locked
}

# Where cargo puts the program
rust_program() {
  echo "${QUICKSTART_PROGRAM:-${CARGO_TARGET_DIR:-$PWD/target}/release/$1}"
}
