#!/bin/bash
# Every command of the README and the guide, as it stands there, in a fresh clone of the last commit: blocks marked `sh`, each from the
# clone's root, and `cargo run ..` within a line. Of `cargo bench ..` within a line it is only looked whether there is such a bench. The
# command for all tests is left to ci/test.sh, which runs that very line. With arguments: those pages only.
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
        else
            while IFS= read -r command; do
                run "$page" "$command" </dev/null
            done < <(grep -oP '`\Kcargo run [^`]+' <<<"$line")
            while IFS= read -r bench; do
                compgen -G "*/benches/$bench.rs" >/dev/null || { echo "$page: no bench $bench"; failed=1; }
            done < <(grep -oP '`cargo bench [^`]*--bench \K\w+' <<<"$line")
        fi
    done <"$page"
done
[ $count -gt 0 ] || { echo "no commands found"; failed=1; }
exit $failed
