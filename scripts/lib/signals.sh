# shellcheck shell=bash
# Signals as programs expect them: what was ignored when a script began, as under nohup, stays ignored in all that it
# starts, and tests that interrupt a program wait in vain.

# signals_default ARGUMENT...: starts this script anew with the default dispositions, if one of those was ignored that
# tests send. A run under nohup still outlives its terminal: SIGHUP is caught and does nothing, which no child inherits.
signals_default() {
  local ignored
  ignored=$(sed -n 's/^SigIgn:\t*//p' "/proc/$$/status")
  if ((16#$ignored & 16#4007)) && [[ -z ${FOUNDRY_SIGNALS:-} ]] && env --default-signal=INT true 2>/dev/null; then
    export FOUNDRY_SIGNALS=default
    (((16#$ignored & 1) == 0)) || FOUNDRY_SIGNALS='nohup'
    exec env --default-signal=HUP,INT,QUIT,TERM bash "$0" "$@"
  fi
  [[ ${FOUNDRY_SIGNALS:-} != nohup ]] || trap : HUP
  unset FOUNDRY_SIGNALS
}
