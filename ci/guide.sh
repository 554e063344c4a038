#!/bin/bash
# Builds the guide into guide/book and checks its links. Its samples are compiled and run by the tests.
#
# mdbook comes from crates.io, once, into target/tools: without its optional features and without optimization it
# builds in under a minute, and the guide is small.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.5.4
tools=$PWD/target/tools
if [ "$("$tools/bin/mdbook" --version 2>/dev/null)" != "mdbook v$version" ]; then
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_TARGET_DIR="$tools/target" \
        cargo install mdbook --version "=$version" --no-default-features --locked --root "$tools" --quiet
    rm -rf "$tools/target"
fi
"$tools/bin/mdbook" build guide

# Every relative link must lead to a page, a file of the repository or, after #, to a heading.
broken=0
while IFS=: read -r page target; do
    path=${target%%#*}
    file=$(dirname "$page")/$path
    [ -z "$path" ] && file=$page
    if [ ! -e "$file" ]; then
        echo "$page: no such file: $target"; broken=1
    elif [[ $target == *#* && $file == guide/src/*.md ]]; then
        html=guide/book/${file#guide/src/}
        grep -q "id=\"${target#*#}\"" "${html%.md}.html" || { echo "$page: no such heading: $target"; broken=1; }
    fi
done < <(grep -oHP '\]\(\K(?!https?:|mailto:)[^)\s]+' ./*.md guide/src/*.md | sed 's|^\./||')
exit $broken
