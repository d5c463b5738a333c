#!/bin/sh
# mmdebstrap essential-hook: what must lie in the tree before the other packages are configured. $1 is the tree.
set -eu
root=$1

# OpenSSH's postinst makes host keys unless they exist. Every site has its own, put there by the site layer.
mkdir -p "$root/etc/ssh"
for kind in rsa ecdsa ed25519; do
  : > "$root/etc/ssh/ssh_host_${kind}_key"
  : > "$root/etc/ssh/ssh_host_${kind}_key.pub"
done

# So does ssl-cert's with its "snakeoil" certificate. This one's key was thrown away; customize.sh removes both files.
mkdir -p "$root/etc/ssl/certs"
mkdir -p "$root/etc/ssl/private"
chmod 700 "$root/etc/ssl/private"
cp /mnt/in/snakeoil.pem "$root/etc/ssl/certs/ssl-cert-snakeoil.pem"
: > "$root/etc/ssl/private/ssl-cert-snakeoil.key"

# Manual pages are left out, but alternatives (Java's, PostgreSQL's) want to link theirs; customize.sh removes the links.
for section in 1 2 3 4 5 6 7 8; do
  mkdir -p "$root/usr/share/man/man$section"
done

mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/initramfs-tools/hooks"
cp /mnt/in/initramfs.conf "$root/etc/initramfs-tools/conf.d/commesh"
cp /mnt/in/initramfs.hook "$root/etc/initramfs-tools/hooks/commesh"
chmod 755 "$root/etc/initramfs-tools/hooks/commesh"

# The kernel lies on the boot partition; links to it in / would point nowhere.
echo 'do_symlinks = 0' > "$root/etc/kernel-img.conf"

# PostgreSQL's postinst would make a cluster with an id of its own; each site makes one at its first start.
mkdir -p "$root/etc/postgresql-common"
echo 'create_main_cluster = false' > "$root/etc/postgresql-common/createcluster.conf"
