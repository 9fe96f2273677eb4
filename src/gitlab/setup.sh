# shellcheck shell=sh
# setup.sh USER SHELL DIRECTORY... - checks that this guest can run a job's scripts, and makes the directories.
fail() {
  echo "$1" >&2
  exit 1
}
user=$1 shell=$2
shift 2
id -u "$user" >/dev/null 2>&1 || fail "there is no user $user"
[ "$user" = root ] || command -v su >/dev/null || fail "there is no program su"
for program in "$shell" setsid head; do
  command -v "$program" >/dev/null || fail "there is no program $program"
done
for directory in "$@"; do
  if ! mkdir -p "$directory" || ! chown "$user" "$directory"; then
    fail "there is no directory $directory"
  fi
done
