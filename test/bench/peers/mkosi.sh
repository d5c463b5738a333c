#!/bin/sh
# Inside the peers' tree, in a folder with the base (root/, the same as rootfs.tar, and boot/) and overlay/: makes the image.
set -eu
case $1 in amd64) architecture=x86-64 ;; *) architecture=$1 ;; esac
cp -r /mnt/recipes/mkosi.conf /mnt/recipes/mkosi.repart .
mkdir -p mkosi.cache
mkosi --architecture="$architecture" --force build
