#!/bin/sh
# Inside the peers' tree, in a folder with the base (root/, the same as rootfs.tar, and boot/) and overlay/: makes the image.
# mmdebstrap has no cache. genimage copies the tree it is given, so the base is kept unpacked, and the overlay goes into the copy.
set -eu
files=$(find boot -mindepth 1 -maxdepth 1 -printf '"%f"\n' | paste -s -d ,)
sed "s|@BOOT@|$files|" /mnt/recipes/genimage.cfg > genimage.cfg
genimage --loglevel 2 --config genimage.cfg --rootpath root --tmppath tmp/genimage --inputpath boot --outputpath .
