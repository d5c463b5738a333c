#!/bin/sh
# Inside the peers' tree, in a folder with the base (root/, the same as rootfs.tar, and boot/) and overlay/: makes the image.
set -eu
truncate -s 1920M image.img
device=$(losetup --find --show --partscan image.img)
trap 'losetup --detach "$device"' EXIT
trap 'exit 130' INT TERM
vmdb2 /mnt/recipes/vmdb2.yaml --output "$device" --rootfs-tarball /mnt/work/rootfs.tar --log vmdb2.log
# Not by a mount: the kernel may lack vfat.
mcopy -s -m -i "${device}p1" boot/* ::
