#!/bin/sh
# Inside the peers' tree: does the image $1 hold what it should? $2: host name.
set -eu
offset() { echo $(($(partx --noheadings --output START --nr "$1" "$image") * 512)); }
image=$1
root="$image?offset=$(offset 2)"
[ "$(debugfs -R 'cat /etc/hostname' "$root" 2> /dev/null)" = "$2" ] || { echo "$image: not the host name $2" >&2; exit 1; }
files=$(debugfs -R 'ls -p /etc/site' "$root" 2> /dev/null | grep -c '\.conf/')
[ "$files" = 299 ] || { echo "$image: $files files of the overlay" >&2; exit 1; }
debugfs -R 'stat /usr/bin/dpkg' "$root" 2> /dev/null | grep -q 'Type: regular' || { echo "$image: no dpkg" >&2; exit 1; }
mdir -b -i "$image@@$(offset 1)" :: | grep -qi vmlinuz || { echo "$image: no kernel in the boot partition" >&2; exit 1; }
