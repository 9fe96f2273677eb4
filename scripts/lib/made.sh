# shellcheck shell=bash
# Files that scripts put outside of the source tree's target/: noted with what was in them, so that a file that somebody
# changed or made is neither written over nor taken away. Needs log.sh, privilege.sh; SETUP_NOTES of apt_install.sh.

made_digest() {
  sha256sum <"$1" | cut -d' ' -f1
}

# made_is_ours FILE: as it was made here
made_is_ours() {
  [[ -f $1 && -r $SETUP_NOTES/files ]] && grep -Fx -- "$(made_digest "$1") $1" "$SETUP_NOTES/files" >/dev/null
}

# made_put FILE MODE: writes standard input there, unless somebody else's file is there: then it fails.
made_put() {
  local new
  new=$(mktemp)
  cat >"$new"
  if [[ ! -e $1 && ! -L $1 ]] || made_is_ours "$1"; then
    made_forget "$1"
    as_root install -D -m "$2" "$new" "$1"
    as_root mkdir -p "$SETUP_NOTES"
    echo "$(made_digest "$new") $1" | as_root tee -a "$SETUP_NOTES/files" >/dev/null
    rm -f "$new"
  elif cmp -s "$new" "$1"; then
    rm -f "$new"
  else
    rm -f "$new"
    return 1
  fi
}

made_forget() {
  local kept
  [[ -e $SETUP_NOTES/files ]] || return 0
  kept=$(awk -v file="$1" 'substr($0, index($0, " ") + 1) != file' "$SETUP_NOTES/files")
  printf '%s' "${kept:+$kept$'\n'}" | as_root tee "$SETUP_NOTES/files" >/dev/null
}

# made_remove FILE: if it is still as it was made
made_remove() {
  if made_is_ours "$1"; then
    as_root rm -f "$1"
    made_forget "$1"
    note "$1 is deleted"
  elif [[ -e $1 ]]; then
    note "$1 is kept: this script did not make it, or it was changed"
  fi
}
