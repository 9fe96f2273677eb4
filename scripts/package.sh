#!/usr/bin/env bash
# package.sh - builds foundry's .deb and .rpm into target/package/.
#
#   scripts/package.sh           both
#   scripts/package.sh --tree    only what is in them, laid out
#
# Needs cargo-deb and cargo-generate-rpm (cargo install cargo-deb cargo-generate-rpm), dpkg-dev, rpm, and what a build
# needs. What is in the packages is laid out in target/package/tree first; Cargo.toml says the rest.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/.."

OUT=target/package
TREE=$OUT/tree
DOCUMENTS=usr/share/doc/foundry-vm
FOUNDRY=target/release/foundry
# What the program itself links. cargo-generate-rpm's own way also takes what those libraries link on this machine, and
# asks for it on one of another distribution.
REQUIRES=/usr/lib/rpm/find-requires

main() {
  scripts/lib/cargo_release.sh build --quiet --release
  rm -rf "$OUT"
  documents
  put scripts/lib/lintian-overrides usr/share/lintian/overrides/foundry-vm
  manual
  completions
  configuration
  put scripts/lib/tmpfiles.conf usr/lib/tmpfiles.d/foundry.conf
  [[ ${1:-} != --tree ]] || return 0
  cargo deb --quiet --no-build --output "$OUT/"
  as_fedora_has_it
  cargo generate-rpm --auto-req "$REQUIRES" --output "$OUT/"
  ls "$OUT"/*.deb "$OUT"/*.rpm
}

# put FILE PLACE: into the tree, below the name that it has there
put() {
  install -D -m 644 "$1" "$TREE/$2"
}

# Each where the others' links look for it. The scripts are for the source tree: of them there is the name only.
documents() {
  local file
  for file in *.md src/core/error/codes.md src/cli/guide.md examples/tour.* examples/justfile examples/*.yaml examples/config/* examples/ansible/* examples/garm/* examples/gitlab/* examples/runners/*; do
    put "$file" "$DOCUMENTS/$file"
  done
  chmod 755 "$TREE/$DOCUMENTS/examples/ansible/foundry-inventory"
  # shellcheck disable=SC2016
  sed -i 's/\[\(scripts\/[^]]*\)\](scripts\/[^)]*)/`\1`/g' "$TREE/$DOCUMENTS"/*.md
}

# Both kinds of package want them packed, and the same each time.
manual() {
  "$FOUNDRY" man "$TREE/usr/share/man" >/dev/null
  gzip -9 --no-name "$TREE"/usr/share/man/man?/*
}

completions() {
  completion bash usr/share/bash-completion/completions/foundry
  completion zsh usr/share/zsh/vendor-completions/_foundry
  completion fish usr/share/fish/vendor_completions.d/foundry.fish
}

# completion SHELL PLACE
completion() {
  mkdir -p "$(dirname "$TREE/$2")"
  "$FOUNDRY" completion "$1" >"$TREE/$2"
}

# Its zsh looks elsewhere than Debian's, and it has no lintian.
as_fedora_has_it() {
  rm -r "$TREE/usr/share/lintian"
  mv "$TREE/usr/share/zsh/vendor-completions" "$TREE/usr/share/zsh/site-functions"
}

# The example, with nothing of it in force.
configuration() {
  mkdir -p "$TREE/etc/foundry"
  sed 's/^\([^#]\)/#\1/' examples/config/config.yaml >"$TREE/etc/foundry/config.yaml"
}

main "$@"
