#!/bin/sh
# Runs a program in the peers' tree: enter.sh TREE WORK RECIPES EMULATE PROGRAM [ARGUMENT...]
# WORK becomes /mnt/work (the working folder), RECIPES becomes /mnt/recipes. Mounts and processes are private and there
# is no network but a loopback device that is down. EMULATE 1: arm64 programs run under the tree's qemu-user, registered in a
# binfmt_misc of a user namespace of its own (Linux >= 6.7), seen by nobody else.
set -eu
if [ "$1" != --inside ]; then
  user=
  [ "$4" = 0 ] || user='--user --map-root-user --map-auto'
  # shellcheck disable=SC2086 # several words or none
  exec unshare $user --mount --pid --net --ipc --uts --fork --kill-child sh "$0" --inside "$@"
fi
shift
tree=$1 work=$2 recipes=$3 emulate=$4
shift 4
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
mount -t tmpfs -o mode=755 tmpfs "$tree/mnt"
mkdir "$tree/mnt/work" "$tree/mnt/recipes"
mount --bind "$work" "$tree/mnt/work"
mount --bind "$recipes" "$tree/mnt/recipes"
if [ "$emulate" = 1 ]; then
  mount -t binfmt_misc binfmt_misc "$tree/proc/sys/fs/binfmt_misc"
  # The kernel reads the \x escapes itself.
  printf '%s' ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$tree"'/usr/bin/qemu-aarch64:OCPF' \
    > "$tree/proc/sys/fs/binfmt_misc/register"
fi
mkdir -p "$work/tmp"
exec chroot "$tree" /usr/bin/env -i -C /mnt/work PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
  TMPDIR=/mnt/work/tmp DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1735689600}" "$@"
