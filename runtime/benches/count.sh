#!/bin/sh
# count.sh [FEATURES]: instructions of a tiny task, in the worker and in its caller, as callgrind counts them: once with the default
# features, once with those (all that are about seeing what a batch does) compiled in and not used, and what it costs to use them.
#
# What a start costs is in all runs, so it is the difference between a run and one of twice as many items that counts. A caller that waits
# spins or sleeps as it comes: its figure wavers by some instructions, the worker's by less than one.
set -e
cd "$(dirname "$0")/.."
features=${1:-progress,log,tracing,backtrace}
items=20000
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Instructions of each process of a run, the worker's first: its name is in the command that callgrind notes, as all have the same, by the order of starts.
run() { # PROGRAM ITEMS HOW
    rm -f "$out"/callgrind.*
    valgrind -q --tool=callgrind --trace-children=yes --callgrind-out-file="$out/callgrind.%p" "$@" >/dev/null 2>"$out/errors" || { cat "$out/errors"; exit 1; }
    for file in $(ls "$out"/callgrind.* | sort -V); do
        sed -n 's/^\(totals\|summary\): *//p' "$file" | head -1
    done
}

count() { # NAME PROGRAM [HOW]
    name=$1 program=$2; shift 2
    set -- "$(run "$program" "$items" "$@")" "$(run "$program" "$((2 * items))" "$@")"
    echo "$name" $1 $2 | awk -v items="$items" '{ printf "%-44s caller %7.1f  worker %7.1f\n", substr($0, 1, index($0, ":")), ($(NF-1) - $(NF-3)) / items, ($NF - $(NF-2)) / items }'
}

program=${CARGO_TARGET_DIR:-../target}/release/examples/tiny
cargo build -q --release -p offspring --example tiny
cp "$program" "$out/plain"
cargo build -q --release -p offspring --example tiny --features "$features"
cp "$program" "$out/all"
echo "instructions by the item, $items items"
count "default features:" "$out/plain"
count "$features, not used:" "$out/all"
count "progress_with:" "$out/all" progress
count "account:" "$out/all" account
