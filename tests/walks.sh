#!/usr/bin/env bash
# Counts the files and jumps of the walks in docs/developer/walks.md, and fails when the page and the code disagree.
#   tests/walks.sh [PAGE]
# A walk is a section with rows "| `function` | `file` | ...". A jump is a row whose file is not that of the row before.
# Rows "| (`function`) | `file` | ..." are neither counted nor jumped to. Every function must be defined in its file below
# src/, and "Counted: N files, M jumps." must be right.
set -euo pipefail
cd "$(dirname "$0")/.."
page=${1:-docs/developer/walks.md}
status=0
complain() { echo "$page: $*" >&2; status=1; }

end_walk() {
  [ "$functions" -gt 0 ] || return 0
  local files
  files=$(printf '%s\n' "${seen[@]}" | sort -u | wc -l)
  echo "$walk: $functions functions, $files files, $jumps jumps"
  [ "$counted" = "$files files, $jumps jumps" ] || complain "$walk: counted are $files files, $jumps jumps; the page says: ${counted:-nothing}"
}
begin_walk() { walk=$1 functions=0 jumps=0 before='' counted='' seen=(); }

row='^\| (\(?)`([a-z_0-9]+)`\)? \| `([a-z_0-9/]+\.rs)` \|'
said='^Counted: ([0-9]+ files, [0-9]+ jumps)\.'
begin_walk ''
while IFS= read -r line; do
  if [[ $line == '## '* ]]; then
    end_walk
    begin_walk "${line#\#\# }"
  elif [[ $line =~ $said ]]; then
    counted=${BASH_REMATCH[1]}
  elif [[ $line =~ $row ]]; then
    asked=${BASH_REMATCH[1]} function=${BASH_REMATCH[2]} file=${BASH_REMATCH[3]}
    grep -qsE "\bfn $function\b" "src/$file" || complain "$walk: no function $function in src/$file"
    [ -z "$asked" ] || continue
    [ -z "$before" ] || [ "$before" = "$file" ] || jumps=$((jumps + 1))
    functions=$((functions + 1)) before=$file
    seen+=("$file")
  fi
done <"$page"
end_walk
exit $status
