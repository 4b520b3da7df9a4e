#!/bin/sh
# Puts the plug-in where NetBackup looks for it, vastost-s3 into /usr/bin, a first configuration into /etc/vastost, and
# makes the folder that the configuration names as state_dir. May be run again: a configuration that is there stays.
#   packaging/install.sh [install [libvastost.so [vastost-s3]]]   default: target/release/libvastost.so, target/release/vastost-s3
#   packaging/install.sh uninstall                                keeps /etc/vastost and the state
# DESTDIR, when set, stands before every path. STATE_OWNER, such as nbwebsvc:nbwebgrp, owns the state folder when
# NetBackup's processes do not run as root. Restart NetBackup's services afterwards, so that they load the plug-in.
set -eu
# What is installed is for every user, whatever the shell that installs it is set to.
umask 022
here=$(cd "$(dirname "$0")/.." && pwd)
root=${DESTDIR:-}
plugins=$root/usr/openv/lib/ost-plugins
bin=$root/usr/bin
etc=$root/etc/vastost

refuse() { echo "install.sh: $*" >&2; exit 1; }

# An ELF file begins with these bytes; a program names its loader by a path, a library does not.
is_elf() { [ "$(head -c 4 "$1" | od -An -tx1 | tr -d ' \n')" = 7f454c46 ]; }
exports_init() {
  if command -v nm >/dev/null; then nm -D --defined-only "$1" 2>/dev/null | grep -q ' T stsp_init$'; else grep -q stsp_init "$1"; fi
}
is_plugin() { is_elf "$1" && exports_init "$1" && ! grep -q '/ld-linux' "$1"; }

# A new file and a rename: a process that has the old one loaded keeps it.
place() {
  install -m 0755 "$1" "$2.new-$$"
  mv -f "$2.new-$$" "$2"
}

# The program that goes with the plug-in: the one that was named, else the release build, else the one beside the plug-in.
find_tool() {
  for tool in "$here/target/release/vastost-s3" "$(dirname "$1")/vastost-s3" "$(dirname "$1")/../vastost-s3"; do
    [ -f "$tool" ] && { echo "$tool"; return; }
  done
  echo "$here/target/release/vastost-s3"
}

case ${1:-install} in
  install)
    so=${2:-$here/target/release/libvastost.so}
    [ -f "$so" ] || refuse "$so is missing: run cargo build --release first"
    is_plugin "$so" || refuse "$so is not the plug-in: it is no shared library that exports stsp_init; nothing was installed"
    tool=${3:-$(find_tool "$so")}
    [ -f "$tool" ] || refuse "$tool is missing: build it with \`cargo build --release\`, or name it as the third argument"
    if ! is_elf "$tool" || is_plugin "$tool"; then refuse "$tool is not the program vastost-s3; nothing was installed"; fi
    mkdir -p "$plugins" "$bin" "$etc"
    place "$so" "$plugins/libstspiVastData.so"
    ln -sfn libstspiVastData.so "$plugins/libstspiVastDataMT.so"
    place "$tool" "$bin/vastost-s3"
    [ -e "$etc/vastost.toml" ] || install -m 0644 "$here/config/vastost.toml" "$etc/vastost.toml"
    # Relative paths start at the folder of the file.
    state=$(sed -n 's/^state_dir *= *"\([^"]*\)".*/\1/p' "$etc/vastost.toml" | head -n 1)
    case ${state:=/var/lib/vastost} in
      /*) state=$root$state ;;
      *) state=$etc/$state ;;
    esac
    # One that is there keeps its owner and mode.
    if [ ! -d "$state" ]; then
      mkdir -p "$state"
      chmod 0755 "$state"
      [ -z "${STATE_OWNER:-}" ] || chown "$STATE_OWNER" "$state"
    fi
    echo "installed $plugins/libstspiVastData.so and $bin/vastost-s3; configuration: $etc/vastost.toml; state: $state" ;;
  uninstall)
    rm -f "$plugins/libstspiVastData.so" "$plugins/libstspiVastDataMT.so" "$bin/vastost-s3"
    rm -f "$plugins"/libstspiVastData.so.new-* "$bin"/vastost-s3.new-*
    echo "removed $plugins/libstspiVastData.so and $bin/vastost-s3; $etc and the state stay" ;;
  *) sed -n 2,8p "$0"; exit 2 ;;
esac
