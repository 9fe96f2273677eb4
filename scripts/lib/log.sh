# shellcheck shell=bash
# Progress for people, always on stderr, so that a script's stdout stays free for what it is asked for.

STEP_TEXT=''
STEP_START=0

now_ms() {
  local now=${EPOCHREALTIME//[.,]/}
  echo $((now / 1000))
}

# seconds MS -> "1.2 s"
seconds() {
  printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100))
}

say() {
  printf '%s\n' "$@" >&2
}

note() {
  printf '    %s\n' "$*" >&2
}

warn() {
  printf 'warning: %s\n' "$*" >&2
}

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  local hint
  for hint in "$@"; do
    printf '  hint: %s\n' "$hint" >&2
  done
  exit 1
}

# step "doing X" COMMAND...: says what is done and how long it took. Call it as a plain command, never
# in a condition: `set -e` inside COMMAND would be switched off there.
step() {
  STEP_TEXT=$1
  STEP_START=$(now_ms)
  shift
  printf '==> %s\n' "$STEP_TEXT" >&2
  "$@"
  note "done in $(seconds $(($(now_ms) - STEP_START)))"
  STEP_TEXT=''
}

# For EXIT traps: names the step in which the script died, if there is one.
step_died() {
  [[ -z $STEP_TEXT ]] || say "failed while $STEP_TEXT, after $(seconds $(($(now_ms) - STEP_START)))"
}

# quietly COMMAND...: the output is shown only when the command fails.
quietly() {
  local output status=0
  output=$(mktemp)
  "$@" >"$output" 2>&1 || status=$?
  if ((status != 0)); then
    tail -n 40 "$output" >&2
    say "\`$*\` ended with status $status"
  fi
  rm -f "$output"
  return "$status"
}
