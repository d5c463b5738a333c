#!/bin/sh
# mmdebstrap customize-hook: accounts, initramfs, and out with everything that is not the same for every site. $1 is the tree.
set -eu
root=$1
out=/mnt/out

# Native twins (extract.sh): the scripts below run programs of the tree, so they leave it last.
trap 'if [ -d "$root/.twins" ]; then umount --recursive "$root/.twins"; rmdir "$root/.twins"; fi' EXIT

# name:home:shell:group,group
while IFS=: read -r name home shell groups; do
  [ -n "$name" ] || continue
  chroot "$root" useradd --create-home --home-dir "$home" --shell "$shell" ${groups:+--groups "$groups"} "$name" \
    --skel /nonexistent --user-group
done < /mnt/in/users

# Programs from wheels, and ready files (src/stages/base.ts), put there by programs of the build: nothing is emulated.
if [ -d /mnt/in/wheels ]; then
  PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 python3 -P /mnt/in/wheels.py "$root" /mnt/in/wheels
fi
if [ -d /mnt/in/overlay ]; then
  cp -R --no-target-directory --preserve=mode /mnt/in/overlay "$root"
fi

env -u INITRD chroot "$root" update-initramfs -c -k all >&2

# The boot partition holds kernel, initramfs and device trees; the root keeps none of them twice.
mkdir -p "$out/boot"
for kernel in "$root"/boot/vmlinuz-*; do
  version=${kernel##*/vmlinuz-}
  case $version in *2712*) flavour=-2712 ;; *) flavour= ;; esac
  mv "$kernel" "$out/boot/vmlinuz$flavour"
  mv "$root/boot/initrd.img-$version" "$out/boot/initrd$flavour.img"
  echo "$version" > "$out/boot/version$flavour"
  # A Debian kernel keeps its device trees in /usr/lib/linux-image-<version>.
  trees=$root/usr/lib/linux-image-$version
  if [ -d "$trees/broadcom" ]; then
    mkdir -p "$out/boot/dtbs$flavour"
    cp "$trees"/broadcom/*.dtb "$out/boot/dtbs$flavour/"
  fi
  if [ -d "$trees/overlays" ]; then
    mkdir -p "$out/boot/overlays"
    cp "$trees"/overlays/* "$out/boot/overlays/"
  fi
  rm -rf "$trees"
done
rm -rf "${root:?}"/boot/*
mkdir -p "$root/boot/firmware" "$root/srv/commesh"

# Which units start is the plan's business: the site layer makes the links.
rm -rf "${root:?}"/etc/systemd/system/* "${root:?}"/etc/systemd/user/* "${root:?}"/var/lib/systemd/deb-systemd-*

# Nothing of the build, nothing random, nothing that differs between two builds.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/machine-id" \
  "$root/var/lib/dbus/machine-id" "$root/var/lib/systemd/random-seed" "$root/etc/mtab" \
  "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow- "$root"/etc/subuid- "$root"/etc/subgid- \
  "$root"/var/cache/ldconfig/aux-cache "$root"/etc/ssl/private/ssl-cert-snakeoil.key "$root"/etc/ssl/certs/ssl-cert-snakeoil.pem \
  "$root"/var/lib/dpkg/*-old "$root"/var/cache/debconf/*-old "$root"/etc/.pwd.lock "$root"/var/lib/dpkg/lock* \
  "$root"/usr/sbin/policy-rc.d
rm -rf "$root"/usr/share/man/* "$root"/etc/apt/* "$root"/var/lib/apt "$root"/var/cache/apt "$root"/tmp/* "$root"/run/* "$root"/var/tmp/*
find "$root/var/log" -type f -delete
: > "$root/etc/machine-id"

# ucf leaves the name of a temporary file there (postgresql-common's settings).
sed -i 's#^ NEW = /tmp/.*# NEW = /dev/null#' "$root/var/cache/debconf/config.dat"

# A private key in a layer that many sites share would be everybody's key.
if found=$(grep -rlE -e '-----BEGIN ([A-Z]+ )?PRIVATE KEY-----' "$root/etc" "$root/var" "$root/root" "$root/home" "$root/srv"); then
  printf 'private keys in the base layer:\n%s\n' "$found" >&2
  exit 1
fi

cp "$root/etc/passwd" "$root/etc/group" "$out/"
