# shellcheck shell=bash
# Installs by APT so that nothing of the machine's owner goes: each transaction is simulated first, and neither removes
# nor downgrades a package. What was brought is noted. Needs log.sh, privilege.sh, apt.sh.

# What scripts brought to this machine: `packages` has a name in each line, `upgraded` a name and the version before.
SETUP_NOTES=${SETUP_NOTES:-/var/lib/foundry-setup}

# The same for the simulation and for the real thing. A machine may be set to remove by itself what nothing needs.
APT_CAREFULLY=(-y --no-remove --no-install-recommends -o APT::Get::AutomaticRemove=false)

# apt_simulate ARGUMENT...: what `apt-get install` would do, in apt's own words
apt_simulate() {
  LC_ALL=C apt-get -s "${APT_CAREFULLY[@]}" install "$@" 2>&1
}

# Reads a simulation; a line for each package that would be removed or go back to an older version
apt_harm() {
  local what name old new rest
  while read -r what name old new rest; do
    case $what:$old in
      Remv:* | Purg:*) echo "$name would be removed" ;;
      Inst:\[*)
        old=${old#[} old=${old%]} new=${new#(}
        ! dpkg --compare-versions "$new" lt "$old" || echo "$name would be downgraded from $old to $new"
        ;;
    esac
  done
}

# apt_solves ARGUMENT...: can this be installed with nothing removed and nothing downgraded? Changes nothing.
apt_solves() {
  local plan
  plan=$(apt_simulate "$@") || return 1
  [[ -z $(apt_harm <<<"$plan") ]]
}

# apt_obstacles ARGUMENT...: which packages stand in each other's way, as apt says it
apt_obstacles() {
  local plan
  plan=$(apt_simulate "$@") || true
  apt_harm <<<"$plan"
  sed -E '/^(Reading|Building|NOTE:|Inst |Conf |Remv |Purg |[0-9]+ upgraded|  +(apt-get needs|Keep also|so don))|^$/d' <<<"$plan" \
    | tail -n 30
}

# apt_install ARGUMENT...: in one transaction; a changed configuration file stays as its owner has it.
apt_install() {
  local plan
  plan=$(apt_simulate "$@")
  apt_tell_upgrades <<<"$plan"
  quietly as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq "${APT_CAREFULLY[@]}" \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install "$@"
  apt_note <<<"$plan"
}

# Reads a simulation; "NAME VERSION-BEFORE" of each package that it upgrades
apt_upgrades() {
  sed -n 's/^Inst \([^ ]*\) \[\([^]]*\)\].*/\1 \2/p'
}

apt_tell_upgrades() {
  local names
  names=$(apt_upgrades | cut -d' ' -f1 | tr '\n' ' ')
  [[ -z $names ]] || note "newer versions of installed packages: $names"
}

# Reads the simulation of what was done
apt_note() {
  local plan
  plan=$(cat)
  as_root mkdir -p "$SETUP_NOTES"
  sed -n 's/^Inst \([^ ]*\) (.*/\1/p' <<<"$plan" | as_root tee -a "$SETUP_NOTES/packages" >/dev/null
  apt_upgrades <<<"$plan" | as_root tee -a "$SETUP_NOTES/upgraded" >/dev/null
}

# The packages that scripts brought and that are still here
apt_brought() {
  local name
  [[ -e $SETUP_NOTES/packages ]] || return 0
  sort -u "$SETUP_NOTES/packages" | while IFS= read -r name; do
    ! package_installed "$name" || echo "$name"
  done
}

# Debian 12 with qemu-utils from backports already installed (several images ship it so) cannot have the release's
# qemu-system-x86 beside it, because the two must match: then the rest has to come from backports, too.
apt_install_from_some_suite() {
  local suite
  suite=$(os_release VERSION_CODENAME)-backports
  if apt_solves "$@"; then
    apt_install "$@"
  elif [[ $suite != bookworm-backports ]]; then
    apt_refuse "$@"
  else
    apt_install_backports "$suite" "$@"
  fi
}

# apt_install_backports SUITE PACKAGE...: a suite that was added and does not help is taken away again.
apt_install_backports() {
  local suite=$1 added=''
  shift
  apt_has_suite "$suite" || added=yes
  apt_add_suite "$suite"
  if apt_solves -t "$suite" "$@"; then
    apt_install -t "$suite" "$@"
  else
    [[ -z $added ]] || apt_drop_suite "$suite"
    apt_refuse "$@"
  fi
}

apt_refuse() {
  say 'These packages cannot be installed beside what is here:' "    $*"
  apt_obstacles "$@" | sed 's/^/    /' >&2
  die 'nothing was installed, because that would remove or downgrade packages of this machine' \
    'decide about the packages above yourself (apt-get install ...), then run this again'
}
