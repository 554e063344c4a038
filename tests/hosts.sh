#!/bin/bash
# Hosts on one machine, for tests of engines between machines: each is a network namespace with a hostname, a /dev/shm and an /etc/hosts
# of its own; they are joined by a bridge in a namespace of its own, and reach nothing else.
#
#   NAME=x hosts.sh up N               makes hosts h0 .. h(N-1), with the addresses 10.77.0.1 .. 10.77.0.N
#   NAME=x hosts.sh exec HOST CMD..    runs CMD on HOST: same files, same process numbers, same directory
#   NAME=x hosts.sh pids HOST          the processes on HOST
#   NAME=x hosts.sh kill HOST          ends all of them, as a crash of the host's processes would
#   NAME=x hosts.sh cut HOST           takes its link down: nobody is told, as with a cable
#   NAME=x hosts.sh heal HOST          takes it up again
#   NAME=x hosts.sh down               removes everything
#   hosts.sh check                     says, and exits with 1, if that is not possible here
#
# NAME keeps those of several tests apart; at most 8 characters. By the name `nsrsh` (a link) it is a remote shell for MPI's launchers:
# nsrsh HOST COMMAND. Needs root, iproute2 and util-linux.
set -eu
NAME=${NAME:-osp}
RUN=/run/offspring-hosts/$NAME
enter() { # HOST CMD..
    local host=$1
    shift
    exec nsenter -t "$(cat "$RUN/$host")" -n -u -m -- /bin/sh -c 'cd "$1" 2>/dev/null || cd /; shift; exec "$@"' sh "$PWD" "$@"
}
members() { # HOST: all processes but the one that holds it
    ip netns pids "$NAME-$1" | grep -vx "$(cat "$RUN/$1")" || true
}
if [ "$(basename "$0")" = nsrsh ]; then
    while [ $# -gt 0 ]; do # options that a remote shell may be given
        case $1 in -l | -p | -o) shift 2 ;; -*) shift ;; *) break ;; esac
    done
    host=$1
    shift
    enter "$host" /bin/sh -c "$*"
fi
verb=$1
shift
case $verb in
check)
    [ "$(id -u)" = 0 ] || { echo "not root"; exit 1; }
    for tool in ip nsenter unshare; do
        command -v $tool >/dev/null || { echo "no $tool"; exit 1; }
    done
    probe=$NAME-probe$$
    ip netns add "$probe" 2>/dev/null || { echo "no network namespaces"; exit 1; }
    result=0
    ip -n "$probe" link add br0 type bridge 2>/dev/null || { echo "no bridges"; result=1; }
    ip netns del "$probe"
    exit $result
    ;;
up)
    count=$1
    mkdir -p "$RUN"
    ip netns add "$NAME-sw"
    ip -n "$NAME-sw" link add br0 type bridge
    ip -n "$NAME-sw" link set br0 up
    {
        echo "127.0.0.1 localhost"
        for i in $(seq 0 $((count - 1))); do echo "10.77.0.$((i + 1)) h$i"; done
    } >"$RUN/hosts"
    for i in $(seq 0 $((count - 1))); do
        host=h$i
        ip netns add "$NAME-$host"
        ip -n "$NAME-$host" link add eth0 type veth peer name "v$i" netns "$NAME-sw"
        ip -n "$NAME-sw" link set "v$i" master br0 up
        ip -n "$NAME-$host" addr add "10.77.0.$((i + 1))/24" dev eth0
        ip -n "$NAME-$host" link set lo up
        ip -n "$NAME-$host" link set eth0 up
        ip netns exec "$NAME-$host" unshare -u -m --propagation private /bin/sh -c \
            "hostname $host; mount -t tmpfs -o size=1g shm /dev/shm; mount --bind $RUN/hosts /etc/hosts; exec sleep infinity" \
            </dev/null >/dev/null 2>&1 &
        echo $! >"$RUN/$host"
    done
    for i in $(seq 0 $((count - 1))); do # until each is as it should be
        for _ in $(seq 250); do
            holder=$(cat "$RUN/h$i")
            [ "$(nsenter -t "$holder" -u hostname 2>/dev/null)" = "h$i" ] && grep -q /etc/hosts "/proc/$holder/mounts" && break
            sleep 0.02
        done
    done
    ;;
exec) enter "$@" ;;
pids) members "$1" ;;
kill)
    pids=$(members "$1")
    [ -z "$pids" ] || kill -9 $pids
    ;;
cut) ip -n "$NAME-sw" link set "v${1#h}" down ;;
heal) ip -n "$NAME-sw" link set "v${1#h}" up ;;
down)
    for file in "$RUN"/h[0-9]*; do
        [ -e "$file" ] || continue
        host=$(basename "$file")
        pids=$(ip netns pids "$NAME-$host" || true)
        [ -z "$pids" ] || kill -9 $pids
        ip netns del "$NAME-$host" || true
    done
    ip netns del "$NAME-sw" || true
    rm -rf "$RUN"
    ;;
*)
    echo "see the head of $0" >&2
    exit 2
    ;;
esac
