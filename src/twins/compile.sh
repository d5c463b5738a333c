#!/bin/sh
# Compiles dispatch.c and machine.c into a folder. usage: CC=gcc-14 compile.sh <folder of the sources> <folder of the results>
# binaries.ts holds what the compiler of Debian 13 makes; other compilers make other bytes that do the same.
set -eu
common='-Os -std=gnu11 -Wall -Wextra -Werror -ffreestanding -fno-builtin -fno-stack-protector -fno-asynchronous-unwind-tables
  -fcf-protection=none -nostdlib -s -Wl,--build-id=none,-z,norelro,-z,noseparate-code,-z,noexecstack'
# shellcheck disable=SC2086 # a list of flags
"${CC:-gcc}" $common -fno-pic -no-pie -static -o "$2/dispatch" "$1/dispatch.c"
# shellcheck disable=SC2086
"${CC:-gcc}" $common -fPIC -shared -Wl,--hash-style=gnu -o "$2/machine.so" "$1/machine.c"
