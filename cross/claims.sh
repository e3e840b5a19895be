# What a trial says of each thing it finds. Sourced after `fail` is there, never run.
# shellcheck shell=bash

step() {
    printf '\n=== %s\n' "$*"
}
# holds TEXT COMMAND...
holds() {
    local text=$1
    shift
    "$@" || fail "does not hold: $text"
    echo "holds: $text"
}
lacks() {
    local text=$1
    shift
    ! "$@" || fail "does not hold: $text"
    echo "holds: $text"
}
until_true() {
    local text=$1
    shift
    for _ in {1..600}; do
        if "$@"; then
            echo "holds: $text"
            return
        fi
        sleep 0.2
    done
    fail "does not hold within 2 minutes: $text"
}
