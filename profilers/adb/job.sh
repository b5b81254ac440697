# Runs one command on a phone apart from the ADB connection, so that it outlives a cut cable.
#   sh job.sh FOLDER LIMIT_S OUT_BYTES COMMAND...
# Leaves in FOLDER: out (each line after the phone's uptime in seconds), err, status. PERFSAGE_JOB is in the
# environment of every process that belongs to it: this is how leftovers are found.
cd "$1" || exit 9
limit_s=$2
out_bytes=$3
shift 3
cat /proc/sys/kernel/random/boot_id >boot
# Written in place at the end, so that a full storage cannot lose the exit code.
echo "running                         " >status
echo $$ >pid

stamp() {
    while IFS= read -r line || [ -n "$line" ]; do
        read -r up rest </proc/uptime
        printf '%s %s\n' "$up" "$line"
    done
}

# Ends what the command started and left, also what went into a session of its own.
sweep='for e in $(grep -las "PERFSAGE_RUN=$PERFSAGE_JOB" /proc/[0-9]*/environ); do
    p=${e%/environ}; kill -KILL "${p#/proc/}"; done'

setsid sh -c 'sleep "$1"; : >timeout; kill -KILL "-$(cat child)"; eval "$2"' sh "$limit_s" "$sweep" \
    </dev/null >/dev/null 2>&1 &
watchdog=$!
{
    {
        {
            setsid sh -c 'echo $$ >child; export PERFSAGE_RUN="$PERFSAGE_JOB"; exec "$@"' sh "$@" </dev/null
            echo "$?" 1<>code
            eval "$sweep" >/dev/null 2>&1
        } | stamp | head -c "$out_bytes" >out
    } 2>&1 >&3 | head -c 65536 >err
} 3>/dev/null
kill -KILL "-$watchdog"
read -r code <code || code=255
reason=exit
[ ! -e timeout ] || reason=timeout
echo "$reason $code   " 1<>status
