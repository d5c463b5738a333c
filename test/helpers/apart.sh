#!/bin/sh
# Runs Node for the files of the vitest project `real`, apart from this machine: a network that has only loopback, mounts of its
# own, the machine's settings and programs read-only, its clock and kernel out of reach. Used in place of Node by real-setup.ts,
# as root; what an ordinary user's tests may do, the kernel limits by itself.
set -eu
node=$COMMESH_TEST_NODE
if [ "${1:-}" != --inside ]; then
  exec unshare --mount --net --ipc --uts --propagation private sh -eu "$0" --inside "$@"
fi
shift
ip link set lo up
for folder in /etc /usr /boot; do
  mount --bind "$folder" "$folder"
  mount -o remount,bind,ro "$folder"
done
# Sockets and state of the machine's own services.
mount -t tmpfs -o mode=755 tmpfs /run
exec setpriv --bounding-set=-sys_time,-sys_boot,-sys_module,-sys_rawio,-wake_alarm -- "$node" "$@"
