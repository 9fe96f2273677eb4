# shellcheck shell=sh
# stage.sh SIZE USER SHELL DIRECTORY - runs a script of SIZE bytes, which comes on stdin, and ends with its exit code.
size=$1 user=$2 shell=$3 directory=$4
umask 077
# A script that was cut is not run.
mkdir "$directory" && head -c "$size" >"$directory/script" || exit 255
[ "$(wc -c <"$directory/script")" -eq "$size" ] || exit 255
if [ "$user" = root ]; then
  set -- "$shell" "$directory/script"
else
  chown -R "$user" "$directory" || exit 255
  # For -c, util-linux begins another session, which would not get the signals for this one.
  option=-c
  su --help 2>&1 | grep -q -e --session-command && option=--session-command
  set -- su -l "$user" "$option" "exec $shell $directory/script"
fi
exec 3<&0
setsid "$@" </dev/null 3<&- &
job=$!
# sshd sends no signal to a command without a terminal. If the connection ends, so does stdin.
{
  read -r _
  kill -TERM "-$job"
  sleep 5
  kill -KILL "-$job"
} <&3 3<&- >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$job"
code=$?
kill "$watch" 2>/dev/null
# ssh ends with 255, too, if it fails itself: the mark tells the two apart.
if [ "$code" -eq 255 ]; then : >"$directory/ended"; else rm -rf "$directory"; fi
exit "$code"
