#!/bin/sh
# mmdebstrap extract-hook: before the first program of the tree runs. $1 is the tree.
set -eu
root=$1

# Native twins of the tree's programs (src/twins); customize.sh takes them out again.
if [ -d /mnt/twins ]; then
  mkdir "$root/.twins"
  mount --bind /mnt/twins "$root/.twins"
  # To see what is emulated: COMMESHCTL_TWINS_TRACE names a file.
  [ ! -e /mnt/trace ] || mount --bind /mnt/trace "$root/.twins/trace"
fi
