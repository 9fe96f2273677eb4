# shellcheck shell=bash
# Where slow things are kept between runs, and when they may be used again.

cache_dir() {
  echo "${FOUNDRY_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/foundry-test}"
}

# cache_key TEXT FILE...: a digest of some text and the content of files
cache_key() {
  local text=$1
  shift
  { printf '%s\n' "$text" && cat -- "$@"; } | sha256sum | cut -c1-32
}

# A product is current if it exists and the key noted beside it is the one of its inputs now.
cache_is_current() {
  [[ -s $1 && -f $1.key && $(<"$1.key") == "$2" ]]
}

# cache_store MADE PRODUCT KEY: puts a finished file in place; a reader never sees a half-written one.
cache_store() {
  rm -f "$2.key"
  mv -f "$1" "$2"
  printf '%s\n' "$3" >"$2.key"
}

# cache_scratch NAME: an empty scratch folder beside the cache (not in /tmp, which may be small or in memory).
# What an aborted run left there is removed.
cache_scratch() {
  local dir
  dir=$(cache_dir)/scratch-$1
  rm -rf "$dir"
  mkdir -p "$dir"
  chmod 755 "$dir"
  echo "$dir"
}
