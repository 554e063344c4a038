#!/bin/bash
# Every command of the README and the guide, as it stands there (blocks marked `sh`), in a fresh clone of the last commit. Each block
# starts in the clone's root. The commands for all tests are left to ci/test.sh, which runs those very lines.
# With arguments: those pages only.
set -uo pipefail
cd "$(dirname "$0")/.."
# What is built here is run once: no optimization, and what `cargo test` has built of other crates is taken as it is.
export CARGO_TARGET_DIR=$PWD/target CARGO_TERM_QUIET=true CARGO_INCREMENTAL=0
for profile in DEV RELEASE BENCH; do
    export "CARGO_PROFILE_${profile}_DEBUG=line-tables-only" "CARGO_PROFILE_${profile}_OPT_LEVEL=0"
done
# What starts itself could be a fork bomb: bounded in number and time.
ulimit -u 3000 2>/dev/null
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
git clone --quiet . "$directory/offspring" || exit 1
left_to_test_sh=$(grep -oP "^command='\K[^']+" ci/test.sh)

failed=0 count=0
run() { # PAGE BLOCK
    local start=$SECONDS output
    [ "$2" = "$left_to_test_sh" ] && return
    count=$((count + 1))
    if output=$(cd "$directory/offspring" && timeout 600 bash -e -o pipefail <<<"$2" 2>&1); then
        echo "$1: \`${2//$'\n'/; }\`: ok ($((SECONDS - start)) s)"
    else
        echo "$1: \`${2//$'\n'/; }\`: FAILED"
        tail -n 40 <<<"$output"
        failed=1
    fi
}
[ $# -gt 0 ] || set -- README.md guide/src/*.md
for page in "$@"; do
    block='' inside=
    while IFS= read -r line; do
        if [ -n "$inside" ] && [ "$line" = '```' ]; then
            run "$page" "${block%$'\n'}" </dev/null
            block='' inside=
        elif [ -n "$inside" ]; then
            block+=$line$'\n'
        elif [ "$line" = '```sh' ]; then
            inside=yes
        fi
    done <"$page"
done
[ $count -gt 0 ] || { echo "no commands found"; failed=1; }
exit $failed
