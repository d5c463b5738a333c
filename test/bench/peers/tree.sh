#!/bin/sh
# Makes the tree the peers run in: tree.sh FOLDER MIRROR. Debian 13, everything the peers call, no recommendations.
set -eu
packages=vmdb2,debos,mkosi,genimage,mmdebstrap,debootstrap,debian-archive-keyring
packages=$packages,qemu-user,arch-test,uidmap,systemd,systemd-repart,systemd-container,udev,kmod
packages=$packages,parted,kpartx,fdisk,dosfstools,mtools,e2fsprogs,zstd,xz-utils,cpio,bubblewrap,fakeroot,rsync
# The age of the mirror's indexes is of no interest here; their signatures are checked.
mmdebstrap --mode=root --variant=apt --include="$packages" \
  --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/locale/*' \
  trixie "$1" "$2"
