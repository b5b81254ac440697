# Process 1 of a played phone: mounts what belongs to it, then keeps adbd running. See device.sh.
set -eu
binary=$1
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$PHONE/dev/pts"
mount --bind "$PHONE/dev/pts/ptmx" "$PHONE/dev/ptmx" 2>/dev/null || ln -sf pts/ptmx "$PHONE/dev/ptmx"
mount -t proc proc "$PHONE/proc"
for pair in data:data played:played sys:sys bin:system/bin; do
    mount --bind "$HOST/${pair%%:*}" "$PHONE/${pair#*:}"
done
mount --bind "$HOST/boot_id" "$PHONE/proc/sys/kernel/random/boot_id"
[ ! -s "$HOST/uptime" ] || mount --bind "$HOST/uptime" "$PHONE/proc/uptime"
while :; do
    while [ -e "$HOST/played/hold" ]; do sleep 0.05; done
    chroot "$PHONE" env LD_PRELOAD=/usr/local/lib/played.so "$binary" || true
    sleep 0.1
done
