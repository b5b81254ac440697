#!/bin/bash
# TFLite 2.14.1's real benchmark_model, built from Debian's own source package, once (root, debootstrap; 800 MB
# while building, 12 MB kept). Prints the folder of the result: the binary with its libraries and loader, which
# runs on any x86-64 Linux. Debian builds TFLite without XNNPACK.
set -euo pipefail
CACHE=${PERFSAGE_ADB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/perfsage-adb}
BUNDLE=$CACHE/benchmark_model BUILD=$CACHE/benchmark-build
SOURCES=tensorflow_2.14.1+dfsg.orig.tar.xz
PACKAGES=g++,make,libtensorflow-lite-dev,libabsl-dev,libeigen3-dev,libruy-dev,libflatbuffers-dev,libgemmlowp-dev
PACKAGES=$PACKAGES,libfarmhash-dev,libfft2d-dev,libcpuinfo-dev,libpthreadpool-dev,libfp16-dev,libneon-2-sse-dev

mirror() { awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null | grep . || echo http://deb.debian.org/debian; }

fetch() {
    mkdir -p "$BUILD"/{lists,source}
    [ -x "$BUILD/sid/usr/bin/g++" ] || debootstrap --variant=minbase --include=$PACKAGES sid "$BUILD/sid" "$(mirror)"
    [ -f "$BUILD/source/$SOURCES" ] && return
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) sid main" >"$BUILD/sources.list"
    local apt=(apt-get -o "Dir::Etc::SourceList=$BUILD/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$BUILD/lists")
    "${apt[@]}" update
    # The packaging may be newer in the pool than in the index; upstream's tarball is all that is needed.
    (cd "$BUILD/source" && "${apt[@]}" source --download-only tensorflow) || [ -f "$BUILD/source/$SOURCES" ]
}

compile() {
    mkdir -p "$BUILD/sid/root/tf"
    tar xf "$BUILD/source/$SOURCES" -C "$BUILD/sid/root/tf" --strip-components=1
    cp "$(dirname "$0")/benchmark_model.mk" "$BUILD/sid/root/tf/benchmark_model.mk"
    chroot "$BUILD/sid" make -j2 -C /root/tf -f benchmark_model.mk
}

bundle() {
    mkdir -p "$BUNDLE.new"
    chroot "$BUILD/sid" ldd /root/tf/benchmark_model | awk '/=>/ {print $3} /ld-linux/ {print $1}' | sort -u |
        while read -r library; do cp -L "$BUILD/sid$library" "$BUNDLE.new/"; done
    cp "$BUILD/sid/root/tf/benchmark_model" "$BUNDLE.new/benchmark_model.bin"
    strip "$BUNDLE.new"/*
    printf '%s\n' '#!/bin/sh' 'd=$(dirname "$(readlink -f "$0")")' \
        'exec "$d/ld-linux-x86-64.so.2" --library-path "$d" "$d/benchmark_model.bin" "$@"' >"$BUNDLE.new/benchmark_model"
    chmod 755 "$BUNDLE.new"/*
    mv "$BUNDLE.new" "$BUNDLE"
}

[ -x "$BUNDLE/benchmark_model" ] || { fetch; compile; bundle; rm -rf --one-file-system "$BUILD"; } >&2
echo "$BUNDLE"
