#!/bin/sh
# Runs Node for one file of the vitest project `real`, apart from this machine: a network that has only loopback, processes and
# mounts of its own, the machine's settings and programs read-only, its clock and kernel out of reach. Whatever the file leaves
# running or mounted ends with it. Used in place of Node by real-setup.ts, as root; what an ordinary user's tests may do, the
# kernel limits by itself.
set -eu
if [ "${1:-}" = --inside ]; then
  shift
  ip link set lo up
  for folder in /etc /usr /boot; do
    mount --bind "$folder" "$folder"
    mount -o remount,bind,ro "$folder"
  done
  # Sockets and state of the machine's own services.
  mount -t tmpfs -o mode=755 tmpfs /run
  # Not exec: the first process collects what others leave behind.
  setpriv --bounding-set=-sys_time,-sys_boot,-sys_module,-sys_rawio,-wake_alarm -- "$COMMESH_TEST_NODE" "$@"
  exit
fi
TMPDIR=$COMMESH_TEST_TMP/$$
export TMPDIR
mkdir -m 755 "$TMPDIR"
# unshare(1) itself does not listen to SIGTERM.
unshare --mount --net --ipc --uts --pid --fork --kill-child --mount-proc --propagation private \
  sh "$0" --inside "$@" <&0 &
apart=$!
trap 'kill -KILL "$apart" 2>/dev/null' TERM INT EXIT
wait "$apart"
