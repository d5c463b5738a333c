#!/bin/sh
# Inside the peers' tree, in a folder with pool/ and packages (their names, separated by commas): makes base.tar.
# $1: architecture.
set -eu
mmdebstrap --mode=root --variant=essential --architectures="$1" --include="$(cat packages)" \
  --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
  trixie base.tar 'deb [trusted=yes] copy:/mnt/work ./'
