#!/bin/bash
# A phone without hardware: Debian trixie's real adbd on loopback, in its own mount and process namespaces.
#
#   device.sh prepare                      build the root file system once (root, debootstrap, g++; 230 MB)
#   device.sh boot NAME PORT [auth] [SIZE] switch a phone on; SIZE limits its storage, such as 16m
#   device.sh off NAME                     switch it off: every process on it ends, its storage stays
#   device.sh wipe NAME                    switch it off and forget its storage
#
# Process 1 on the phone restarts adbd when it dies, as Android's init does, unless /played/hold exists.
# /played, /sys, /system/bin, /proc/uptime and the boot id are files of the host below $CACHE/run/NAME:
# whatever a test writes there is played, and not Android's.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${PERFSAGE_ADB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perfsage-adb}
ROOT=$CACHE/trixie
ADBD=/usr/lib/android-sdk/platform-tools/adbd

mirror() { awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null | grep . || echo http://deb.debian.org/debian; }

prepare() {
    mkdir -p "$CACHE"
    # debootstrap does not go on where it was killed: what is half there has to go.
    [ -e "$ROOT/.prepared" ] || rm -rf --one-file-system "$ROOT"
    [ -x "$ROOT$ADBD" ] || debootstrap --variant=minbase --include=adbd trixie "$ROOT" "$(mirror)"
    mkdir -p "$ROOT"/{data,played,system/bin,sys,proc}
    g++ -std=c++17 -O2 -shared -fPIC -o "$ROOT/usr/local/lib/played.so" "$HERE/shim.cc" -ldl
    python3 "$HERE/enable_auth.py" "$ROOT$ADBD" "$ROOT$ADBD.auth"
    printf '%s\n' '#!/bin/sh' 'p=/played/props' \
        '[ $# -eq 0 ] && exec sed "s/^\([^=]*\)=\(.*\)$/[\1]: [\2]/" $p' \
        'exec awk -v k="$1=" "index(\$0, k) == 1 {print substr(\$0, length(k) + 1)}" $p' >"$ROOT/usr/local/bin/getprop"
    chmod 755 "$ROOT/usr/local/bin/getprop"
    touch "$ROOT/.prepared"
}

boot() {
    local name=$1 port=$2 binary=$ADBD size=${4:-} home=$CACHE/run/$1
    [ "${3:-}" = auth ] && binary=$ADBD.auth
    mkdir -p "$home"
    # In memory: a busy disk must not hold up the files that are played while a benchmark runs.
    mountpoint -q "$home" || mount -t tmpfs -o size=1g tmpfs "$home"
    mkdir -p "$home"/{data,played,sys,bin}
    [ -z "$size" ] || mountpoint -q "$home/data" || mount -t tmpfs -o "size=$size" tmpfs "$home/data"
    mkdir -p "$home"/data/{local/tmp,misc/adb}
    [ -f "$home/played/props" ] || printf '%s\n' ro.product.name=played ro.product.device=played \
        "ro.product.model=Played $name" "ro.serialno=$name" ro.product.cpu.abi=x86_64 >"$home/played/props"
    [ -f "$home/uptime" ] || : >"$home/uptime"
    cat /proc/sys/kernel/random/uuid >"$home/boot_id"
    setsid unshare --mount --pid --fork --kill-child --propagation private \
        env -i HOME=/ HOST="$home" PHONE="$ROOT" ADBD_PORT="$port" PLAYED_PROPS=/played/props \
        PATH=/system/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin sh "$HERE/init.sh" "$binary" \
        </dev/null >"$home/log" 2>&1 &
    echo $! >"$home/pid"
    for _ in $(seq 250); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
        sleep 0.02
    done
    echo "adbd of $name did not open port $port; see $home/log" >&2
    return 1
}

alive() { # a process that has ended may wait long for its parent to notice
    local state
    state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) && [ "${state%% *}" != Z ]
}

off() {
    local home=$CACHE/run/$1 pid init
    pid=$(cat "$home/pid" 2>/dev/null) || return 0
    rm -f "$home/pid"
    init=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null) || return 0
    kill -KILL $init "$pid" 2>/dev/null || return 0 # the end of its process 1 ends all processes of a namespace
    while alive "$pid" || { [ -n "$init" ] && alive $init; }; do sleep 0.01; done
}

wipe() {
    off "$1"
    umount "$CACHE/run/$1/data" 2>/dev/null || true
    umount "$CACHE/run/$1" 2>/dev/null || true
    rm -rf --one-file-system "${CACHE:?}/run/${1:?}"
}

command=${1:?prepare, boot, off or wipe}
shift
case $command in
prepare | boot | off | wipe) "$command" "$@" ;;
*) echo "unknown command $command" >&2; exit 2 ;;
esac
