#!/usr/bin/env bash
# coverage.sh - how many lines of the code the tests run that need no libvirtd, as a table of modules.
#
#   scripts/coverage.sh              the table
#   scripts/coverage.sh --at-least 90  and failure where a module that decides has less
#   scripts/coverage.sh --missing    the lines of the modules that decide that no test runs, too
#   scripts/coverage.sh --again      from the last run's counts
#
# Lines of the unit tests themselves do not count. It installs nothing. It needs llvm-cov and llvm-profdata of the
# compiler's own LLVM: rustup component add llvm-tools, or LLVM_COV and LLVM_PROFDATA in the environment.
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What decides, as a pattern of paths below src/.
DECIDES='^(core|engine)/'
FOLDER=target/coverage
AT_LEAST=0
MISSING=0
AGAIN=''

main() {
  while (($# > 0)); do
    case $1 in
      --at-least)
        AT_LEAST=${2:?--at-least needs a number}
        shift
        ;;
      --missing) MISSING=1 ;;
      --again) AGAIN=yes ;;
      *) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d' && exit 64 ;;
    esac
    shift
  done
  find_tools
  [[ -n $AGAIN ]] || measure
  table
}

die() {
  printf 'coverage.sh: %s\n' "$@" >&2
  exit 1
}

find_tools() {
  local own
  own=$(rustc --print target-libdir)/../bin
  LLVM_COV=${LLVM_COV:-$own/llvm-cov}
  LLVM_PROFDATA=${LLVM_PROFDATA:-$own/llvm-profdata}
  [[ -x $LLVM_COV && -x $LLVM_PROFDATA ]] ||
    die "there is no llvm-cov in $own" 'rustup component add llvm-tools, or set LLVM_COV and LLVM_PROFDATA'
}

# Only this package is instrumented, so that its dependencies need no second build.
measure() {
  rm -rf "$FOLDER" && mkdir -p "$FOLDER"
  printf '#!/bin/sh\nexec "$@" -C instrument-coverage\n' >"$FOLDER/rustc" && chmod +x "$FOLDER/rustc"
  export RUSTC_WORKSPACE_WRAPPER=$PWD/$FOLDER/rustc LLVM_PROFILE_FILE=$PWD/$FOLDER/%m_%p.profraw
  local tests=(--lib --bins --test pure)
  cargo test --quiet "${tests[@]}" >"$FOLDER/tests.log" 2>&1 || {
    tail -50 "$FOLDER/tests.log" >&2
    die 'the tests fail'
  }
  cargo test --no-run --message-format=json "${tests[@]}" 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | sort -u >"$FOLDER/objects"
  # Where a test clears the environment, the counts land in the working directory.
  find . -maxdepth 1 -name 'default_*.profraw' -exec mv {} "$FOLDER" \;
  "$LLVM_PROFDATA" merge -sparse "$FOLDER"/*.profraw -o "$FOLDER/all.profdata"
  rm -f "$FOLDER"/*.profraw
}

table() {
  local objects=()
  # The first one is a positional argument, the rest are options.
  mapfile -t objects < <(sed '2,$s/^/--object=/' "$FOLDER/objects")
  "$LLVM_COV" export --format=lcov --instr-profile="$FOLDER/all.profdata" "${objects[@]}" src >"$FOLDER/lcov"
  awk -v decides="$DECIDES" -v at_least="$AT_LEAST" -v show="$MISSING" -v src="$PWD/src/" '
    # The line from which on a file is tests, by the house rule that they come last.
    function tests_of(path,   line, number, found) {
      found = 1e9
      while ((getline line < path) > 0) {
        number++
        if (line ~ /^#\[cfg\(test\)\]/) found = number
      }
      close(path)
      return found
    }
    function add(name, ran) { all[name]++; if (ran) hit[name]++ }
    function row(name) { printf "%-14s %6d %6d  %6.2f %%\n", name, all[name], hit[name], 100 * hit[name] / all[name] }
    /^SF:/ {
      path = substr($0, 4); file = path; sub(src, "", file)
      skip = file ~ /tests\.rs$/ ? 1 : 0
      module = file; sub(/\/.*/, "", module); sub(/\.rs$/, "", module)
      first = tests_of(path)
    }
    /^DA:/ && !skip {
      split(substr($0, 4), part, ",")
      if (part[1] >= first) next
      add(module, part[2] > 0)
      if (file ~ decides) {
        decider[module] = 1; add("what decides", part[2] > 0)
        if (!part[2]) missing[file] = missing[file] " " part[1]
      }
      add("all", part[2] > 0)
    }
    END {
      printf "%-14s %6s %6s\n", "MODULE", "LINES", "RUN"
      n = split("names yaml manifest plan cloud_init domain_xml operations", order, " ")
      for (i = 1; i <= n; i++) {
        row(order[i])
        if (100 * hit[order[i]] < at_least * all[order[i]]) low = low " " order[i]
      }
      row("what decides"); print ""
      for (module in all) if (!(module in decider) && module != "all" && module != "what decides") rest[module]
      sorter = "sort"
      for (module in rest) { printf "%-14s %6d %6d  %6.2f %%\n", module, all[module], hit[module], 100 * hit[module] / all[module] | sorter }
      close(sorter)
      row("all")
      if (show) { print ""; for (file in missing) print "src/" file ":" missing[file] | sorter; close(sorter) }
      if (low != "") { print "below " at_least " %:" low; exit 1 }
    }' "$FOLDER/lcov"
}

main "$@"
