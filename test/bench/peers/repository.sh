#!/bin/sh
# Inside the peers' tree, in a folder with pool/: makes it a repository.
set -eu
for deb in pool/*.deb; do
  dpkg-deb --field "$deb"
  printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d ' ' -f 1)"
done > Packages
printf 'Suite: trixie\nCodename: trixie\n' > Release
