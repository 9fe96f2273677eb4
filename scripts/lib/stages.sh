# shellcheck shell=bash
# Named stages of a run: each in a process group of its own, timed, its output kept, the outcome in a table.
# A stage is a function. It may call `skip REASON`. What it sets does not survive: it runs in a subshell.
# Needs log.sh. Set STAGE_DIR to an empty folder before the first stage.

STAGE_DIR=''
STAGE_NAMES=()
declare -A STAGE_OUTCOME=() STAGE_TIME=() STAGE_REASON=() STAGE_PID=() STAGE_START=()
STAGE_SKIPPED=77
# Of all stages: each test of a `cargo test` stage counts as one check, each other stage as one.
CHECKS_PASSED=0
CHECKS_FAILED=0
CHECKS_SKIPPED=0

# For use inside a stage
skip() {
  echo "skipped: $*"
  exit "$STAGE_SKIPPED"
}

# stage NAME FUNCTION...: runs it with its output shown. Its failure is recorded, the run goes on.
stage() {
  say "==> $1"
  stage_launch "$@" > >(tee "$STAGE_DIR/$1.log") 2>&1
  stage_collect "$1"
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
    set -e
    "$@"
    now_ms >"$STAGE_DIR/$name.end"
  ) </dev/null &
  STAGE_PID[$name]=$!
  set +m
}

stage_collect() {
  local name=$1 status=0 end
  wait "${STAGE_PID[$name]}" || status=$?
  STAGE_PID[$name]=''
  # A background stage took the time until its end, not until somebody asked.
  end=$(cat "$STAGE_DIR/$name.end" 2>/dev/null || now_ms)
  stage_record "$name" "$status" $((end - STAGE_START[$name]))
  note "${STAGE_OUTCOME[$name]} in $(seconds "${STAGE_TIME[$name]}")"
}

stage_record() {
  STAGE_TIME[$1]=$3
  case $2 in
    0) STAGE_OUTCOME[$1]=ok ;;
    "$STAGE_SKIPPED")
      STAGE_OUTCOME[$1]=skipped
      STAGE_REASON[$1]=$(sed -n 's/^skipped: //p' "$STAGE_DIR/$1.log" | tail -n 1)
      ;;
    *) STAGE_OUTCOME[$1]=failed STAGE_REASON[$1]="status $2" ;;
  esac
  stage_count "$1"
}

# Adds up the "test result:" lines of cargo, if there are any. The log may still be on its way through tee.
stage_count() {
  local passed failed ignored
  read -r passed failed ignored < <(sleep 0.2; awk '/^test result:/ { p += $4; f += $6; i += $8 }
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
  echo "skipped: $2" >"$STAGE_DIR/$1.log"
  stage_record "$1" "$STAGE_SKIPPED" 0
  say "==> $1: skipped: $2"
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
    wait "${STAGE_PID[$name]}" 2>/dev/null || true
    STAGE_PID[$name]=''
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
  echo
  echo "$CHECKS_PASSED passed, $CHECKS_FAILED failed, $CHECKS_SKIPPED skipped"
}
