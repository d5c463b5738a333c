#!/bin/sh
# Inside the peers' tree, in a folder with the base (root/, the same as rootfs.tar, and boot/) and overlay/: makes the image.
set -eu
# debos waits for udevd, which is not in here; the kernel makes the nodes of partitions at once.
mkdir -p /run/programs
ln -sf /bin/true /run/programs/udevadm
# Recipes name files beside themselves.
sed "s/^architecture: .*/architecture: $1/" /mnt/recipes/debos.yaml > debos.yaml
if ! PATH=/run/programs:$PATH debos --disable-fakemachine --artifactdir=/mnt/work debos.yaml; then
  # After a failure debos leaves its loop device behind.
  losetup --noheadings --output NAME,BACK-FILE | sed -n 's!^\(/dev/loop[0-9]*\) */mnt/work/.*!\1!p' | xargs -r -n 1 losetup --detach
  exit 1
fi
# Not by a mount: the kernel may lack vfat.
mcopy -s -m -i image.img@@8M boot/* ::
