# shellcheck shell=bash
# How long each test of a stage took. Needs log.sh, stages.sh.

# tests_timed [quietly]: passes on what libtest says, with `quietly` without the tests that passed, and notes how long each
# took. libtest's own times are nightly's; here they follow from when the lines come: tests begin in the order of their
# names, each when one before it ends. TEST_THREADS run at once.
tests_timed() {
  local line name now begun ends=$STAGE_DIR/${STAGE:?}.ends
  begun=$(now_ms)
  : >"$ends"
  while IFS= read -r line; do
    case $line in
      'running '*' test'*)
        begun=$(now_ms)
        : >"$ends"
        ;;
      'test result:'*)
        awk -v begun="$begun" -v threads="${TEST_THREADS:-1}" \
          'NR == FNR { end[NR] = $1; next } { print $1 - (FNR > threads ? end[FNR - threads] : begun), $2 }' \
          "$ends" <(LC_ALL=C sort -k2 "$ends") >>"$STAGE_DIR/$STAGE.times"
        ;;
      'test '*' ... '*)
        name=${line#test }
        now=${EPOCHREALTIME//[.,]/}
        echo "$((now / 1000)) ${name%% ... *}" >>"$ends"
        [[ ${1:-} != quietly || $line != *' ... ok' ]] || continue
        ;;
    esac
    printf '%s\n' "$line"
  done
}

# tests_slowest NUMBER: of all tests
tests_slowest() {
  local time stage name file
  compgen -G "$STAGE_DIR/*.times" >/dev/null || return 0
  printf '\n%-16s %9s  %s\n' 'SLOWEST TESTS' TIME ''
  for file in "$STAGE_DIR"/*.times; do
    stage=$(basename "$file" .times)
    sed "s/$/ $stage/" "$file"
  done | sort -rn | sed "$1q" | while read -r time name stage; do
    printf '%-16s %9s  %s\n' "$stage" "$(seconds "$time")" "$name"
  done
}
