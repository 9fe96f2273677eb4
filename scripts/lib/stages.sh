# shellcheck shell=bash
# Named stages of a run: each in a process group of its own, timed, its output kept, the outcome in a table.
# A stage is a function. It may call `skip REASON`. What it sets does not survive: it runs in a subshell.
# Needs log.sh. Set STAGE_DIR to an empty folder before the first stage.

STAGE_DIR=''
STAGE_NAMES=()
declare -A STAGE_OUTCOME=() STAGE_TIME=() STAGE_REASON=() STAGE_PID=() STAGE_START=() STAGE_STATUS=() STAGE_WATCH=()
STAGE_SKIPPED=77
# Minutes after which a stage is ended: it hangs.
STAGE_LIMIT=60
# Of all stages: each test of a `cargo test` stage counts as one check, each other stage as one.
CHECKS_PASSED=0
CHECKS_FAILED=0
CHECKS_SKIPPED=0

# For use inside a stage
skip() {
  echo "skipped: $*"
  echo "$*" >"$STAGE_DIR/$STAGE.reason"
  exit "$STAGE_SKIPPED"
}

# stage NAME FUNCTION...: runs it with its output shown. Its failure is recorded, the run goes on.
stage() {
  local output tee
  say "==> $1"
  exec {output}> >(exec tee "$STAGE_DIR/$1.log")
  tee=$!
  stage_launch "$@" >&"$output" 2>&1 {output}>&-
  exec {output}>&-
  stage_wait "$1"
  stage_drain "$tee"
  stage_collect "$1"
}

# The log is complete when tee has ended. Not for ever: something that the stage left behind may hold the pipe.
stage_drain() {
  local tries
  for ((tries = 0; tries < 40; tries++)); do
    [[ -d /proc/$1 ]] || return 0
    sleep 0.05
  done
}

# stage_background NAME FUNCTION...: runs beside the next ones, shown by stage_finish
stage_background() {
  say "==> $1 (in the background)"
  stage_launch "$@" >"$STAGE_DIR/$1.log" 2>&1
}

stage_finish() {
  local name
  for name in "$@"; do
    [[ -n ${STAGE_PID[$name]:-} ]] || continue
    say "==> $name (waiting)"
    stage_wait "$name"
    stage_collect "$name"
    [[ ${STAGE_OUTCOME[$name]} != failed ]] || tail -n 40 "$STAGE_DIR/$name.log" >&2
  done
}

# A group of its own (job control) lets an interrupted run end a stage with all its children. No input: a
# background group that reads from a terminal would be stopped for ever.
stage_launch() {
  local name=$1
  shift
  STAGE_NAMES+=("$name")
  STAGE_START[$name]=$(now_ms)
  set -m
  (
    trap - EXIT INT TERM
    STAGE=$name
    set -e
    "$@"
    now_ms >"$STAGE_DIR/$name.end"
  ) </dev/null &
  STAGE_PID[$name]=$!
  stage_limit "$name" "${STAGE_PID[$name]}" &
  STAGE_WATCH[$name]=$!
  set +m
}

# stage_limit NAME PID: ends the group of a stage that does not end
stage_limit() {
  trap - EXIT INT TERM
  exec >&- 2>&- </dev/null
  local end=$((SECONDS + STAGE_LIMIT * 60))
  # Not beyond the runner's end: the number of the group may be somebody else's by then.
  while ((SECONDS < end)); do
    sleep 5
    [[ -d /proc/$$ ]] || exit 0
  done
  echo "ended after $STAGE_LIMIT min" >"$STAGE_DIR/$1.limit"
  kill -TERM -- "-$2"
}

stage_wait() {
  # A hangup that is caught (signals.sh) ends the waiting, and not what is waited for.
  while :; do
    STAGE_STATUS[$1]=0
    wait "${STAGE_PID[$1]}" || STAGE_STATUS[$1]=$?
    [[ ${STAGE_STATUS[$1]} == 129 && -d /proc/${STAGE_PID[$1]} ]] || break
  done
  STAGE_PID[$1]=''
  kill -- "-${STAGE_WATCH[$1]}" 2>/dev/null || true
  wait "${STAGE_WATCH[$1]}" 2>/dev/null || true
}

stage_collect() {
  local name=$1 end
  # A background stage took the time until its end, not until somebody asked.
  end=$(cat "$STAGE_DIR/$name.end" 2>/dev/null || now_ms)
  stage_record "$name" "${STAGE_STATUS[$name]}" $((end - STAGE_START[$name]))
  note "${STAGE_OUTCOME[$name]} in $(seconds "${STAGE_TIME[$name]}")"
}

stage_record() {
  STAGE_TIME[$1]=$3
  case $2 in
    0) STAGE_OUTCOME[$1]=ok ;;
    "$STAGE_SKIPPED")
      STAGE_OUTCOME[$1]=skipped
      STAGE_REASON[$1]=$(cat "$STAGE_DIR/$1.reason")
      ;;
    *) STAGE_OUTCOME[$1]=failed STAGE_REASON[$1]=$(cat "$STAGE_DIR/$1.limit" 2>/dev/null || echo "status $2") ;;
  esac
  stage_count "$1"
}

# Adds up the "test result:" lines of cargo, if there are any.
stage_count() {
  local passed failed ignored
  read -r passed failed ignored < <(awk '/^test result:/ { p += $4; f += $6; i += $8 }
    END { print p + 0, f + 0, i + 0 }' "$STAGE_DIR/$1.log")
  if ((passed + failed + ignored > 0)); then
    STAGE_REASON[$1]="$passed tests${STAGE_REASON[$1]:+, ${STAGE_REASON[$1]}}"
    # A stage can fail without a failed test: a test binary that died, or did not compile.
    [[ ${STAGE_OUTCOME[$1]} != failed ]] || ((failed > 0)) || failed=1
  else
    case ${STAGE_OUTCOME[$1]} in
      ok) passed=1 ;;
      failed) failed=1 ;;
      skipped) ignored=1 ;;
    esac
  fi
  CHECKS_PASSED=$((CHECKS_PASSED + passed))
  CHECKS_FAILED=$((CHECKS_FAILED + failed))
  CHECKS_SKIPPED=$((CHECKS_SKIPPED + ignored))
}

# stage_leave_out NAME REASON: counts as skipped
stage_leave_out() {
  STAGE_NAMES+=("$1")
  : >"$STAGE_DIR/$1.log"
  echo "$2" >"$STAGE_DIR/$1.reason"
  stage_record "$1" "$STAGE_SKIPPED" 0
  say "==> $1: skipped: $2"
}

# stage_full NAME FUNCTION...: what is neither quick nor needed in every run. It runs with --full or when it is asked for
# by name; otherwise the table says when it last went well with all of --full.
stage_full() {
  local stamp
  stamp=$(cache_dir)/full/$1
  if [[ -z ${FULL:-} && ${ONLY:-} != "$1" ]]; then
    stage_leave_out "$1" "only with --full; last success: $(cat "$stamp" 2>/dev/null || echo 'not known')"
    return 0
  fi
  stage "$@"
  if [[ -n ${FULL:-} ]] && stage_ok "$1"; then
    mkdir -p "$(dirname "$stamp")"
    date -u +%F >"$stamp"
  fi
}

stage_ok() {
  [[ ${STAGE_OUTCOME[$1]:-} == ok ]]
}

# Ends what still runs, with its children. Only groups that were started here.
stage_stop_all() {
  local name
  for name in "${!STAGE_PID[@]}"; do
    [[ -n ${STAGE_PID[$name]} ]] || continue
    kill -TERM -- "-${STAGE_PID[$name]}" 2>/dev/null || true
    stage_wait "$name" 2>/dev/null
    STAGE_OUTCOME[$name]=failed STAGE_REASON[$name]=interrupted
    STAGE_TIME[$name]=$(($(now_ms) - STAGE_START[$name]))
    CHECKS_FAILED=$((CHECKS_FAILED + 1))
  done
}

stage_table() {
  local name
  echo
  printf '%-16s %-8s %9s  %s\n' STAGE OUTCOME TIME ''
  for name in "${STAGE_NAMES[@]}"; do
    printf '%-16s %-8s %9s  %s\n' "$name" "${STAGE_OUTCOME[$name]:-failed}" "$(seconds "${STAGE_TIME[$name]:-0}")" \
      "${STAGE_REASON[$name]:-}"
  done
  tests_slowest 10
  echo
  echo "$CHECKS_PASSED passed, $CHECKS_FAILED failed, $CHECKS_SKIPPED skipped"
}
