# Sourced by run: which tests are to be run, and what came back.

# Writes $run/items for the guest and $run/expected, one "ITEM TEST" a line; sets programs and items_limit.
choose_items() {
  local item sets limit kind words program chosen names
  programs=()
  items_limit=0
  : >"$run/items"
  : >"$run/expected"
  while read -r item sets limit kind words; do
    [[ -n "$item" && "$item" != \#* && ",$sets," == *",$1,"* ]] || continue
    case $kind in
      gtest)
        read -r program chosen <<<"$words"
        program=$build/tests/$program
        [ -x "$program" ] || missing "$program is not built; cmake --build --preset release"
        # A filter replaces those of the items: once is enough for a program.
        [[ -z "${2:-}" || " ${programs[*]} " != *" $program "* ]] || continue
        names=$(test_names "$program" "${2:-${chosen:-*}}")
        if [ -z "$names" ]; then
          [ -n "${2:-}" ] && continue
          missing "no test of $program matches ${chosen:-*}"
        fi
        sed "s/^/$item /" <<<"$names" >>"$run/expected"
        words="$program --gtest_filter='${2:-${chosen:-*}}'"
        ;;
      demo)
        [ -z "$2" ] || continue
        program=$build/bin/godwit
        [ -x "$program" ] || missing "$program is not built; cmake --build --preset release"
        echo "$item demo" >>"$run/expected"
        words="$program demo --json --guest kvm --timeout 60s $words"
        ;;
    esac
    echo "$item $limit $kind $words" >>"$run/items"
    programs+=("$program")
    items_limit=$((items_limit + limit))
  done <"$here/items"
  [ -s "$run/expected" ] || missing "no test of the set matches \"$2\""
  # Tests of the command run it by its path.
  [ ! -x "$build/bin/godwit" ] || programs+=("$build/bin/godwit")
}

# The tests of a program that match a filter, as GoogleTest names them.
test_names() {
  "$1" --gtest_list_tests --gtest_filter="$2" | awk '
    /^[^ ].*\.( |$)/ { suite = $1 }
    /^  / { print suite $1 }'
}

# The item that was running when the machine's kernel panicked. Nothing when it did not or no item was running, and
# nothing when a check of the item had failed already: that counts.
item_of_panic() {
  local item
  grep -q 'Kernel panic' "$run/console" || return 0
  item=$(tr -d '\r' <"$run/results" | sed -n 's/^start //p' | tail -n 1)
  if [ -n "$item" ] && ! grep -q -e "^result $item failed " -e "^exit $item " "$run/results" &&
    ! sed "1,/^=== $item:/d" "$run/console" | grep -q ': Failure'; then
    echo "$item"
  fi
}

# Adds what the machine reported to $run/results.txt, up to the item that is to be run again, if one is named.
keep_results() {
  tr -d '\r' <"$run/results" | sed "${1:+/^start $1\$/,\$d}" >>"$run/results.txt"
}

# Leaves the named item and those after it in $run/items, and the time that these may take.
only_items_from() {
  local limit
  sed -i -n "/^$1 /,\$p" "$run/items"
  items_limit=0
  while read -r _ limit _; do
    items_limit=$((items_limit + limit))
  done <"$run/items"
}

results_kernel() {
  sed -n 's/^kernel //p' "$run/results.txt" | tail -n 1
}

# Every expected test must have reported exactly once and not have failed, every item have ended with 0, and the last
# line be the end with 0.
check_results() {
  local item how ms name code
  declare -gA count=([ok]=0 [skipped]=0 [failed]=0)
  unreported=()
  verdict=0
  while read -r _ item how ms name; do
    case $how in
      ok) ;;
      skipped)
        echo "nested: skipped $item $name"
        if [[ "$name" != *" : "?* ]]; then
          echo "nested: a skip must have a reason" >&2
          verdict=1
        fi
        ;;
      failed) echo "nested: FAILED $item $name" >&2 ;;
      *)
        echo "nested: a result that cannot be read: $item $how $ms $name" >&2
        verdict=1
        continue
        ;;
    esac
    count[$how]=$((count[$how] + 1))
  done < <(grep '^result ' "$run/results.txt")
  while read -r item name; do
    case $(grep -c -E "^result $item (ok|skipped|failed) [0-9]+ $(sed 's/[.[\*^$/]/\\&/g' <<<"$name")( : .*)?$" "$run/results.txt") in
      1) ;;
      0)
        echo "nested: NO RESULT of $item $name" >&2
        unreported+=("$name")
        ;;
      *)
        echo "nested: more than one result of $item $name" >&2
        verdict=1
        ;;
    esac
  done <"$run/expected"
  while read -r _ item code _; do
    if [ "$code" != 0 ]; then
      echo "nested: $item ended with $code" >&2
      verdict=1
    fi
  done < <(grep '^exit ' "$run/results.txt")
  grep '^error ' "$run/results.txt" >&2 || true
  if [ "$(tail -n 1 "$run/results.txt")" != "end 0" ]; then
    echo "nested: the machine did not report a good end" >&2
    verdict=1
  fi
  [ "${count[failed]}" -eq 0 ] && [ ${#unreported[@]} -eq 0 ] || verdict=1
}
