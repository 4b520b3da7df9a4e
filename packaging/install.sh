#!/bin/sh
# Puts the plug-in where NetBackup looks for it, and a first configuration into /etc/vastost.
#   packaging/install.sh [install [libvastost.so]]     default: target/plugin/libvastost.so
#   packaging/install.sh uninstall                     keeps /etc/vastost
# DESTDIR, when set, stands before every path. Restart NetBackup's services afterwards, so that they load it.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
plugins=${DESTDIR:-}/usr/openv/lib/ost-plugins
etc=${DESTDIR:-}/etc/vastost

case ${1:-install} in
  install)
    so=${2:-$here/target/plugin/libvastost.so}
    [ -f "$so" ] || { echo "install.sh: $so is missing: build the plug-in first (README, \"Build the plug-in\")" >&2; exit 1; }
    mkdir -p "$plugins" "$etc"
    # A new file and a rename: a process that has the old one loaded keeps it.
    install -m 0755 "$so" "$plugins/.libstspiVastData.so.new"
    mv -f "$plugins/.libstspiVastData.so.new" "$plugins/libstspiVastData.so"
    ln -sfn libstspiVastData.so "$plugins/libstspiVastDataMT.so"
    [ -e "$etc/vastost.toml" ] || install -m 0644 "$here/config/vastost.toml" "$etc/vastost.toml"
    echo "installed $plugins/libstspiVastData.so; configuration: $etc/vastost.toml" ;;
  uninstall)
    rm -f "$plugins/libstspiVastData.so" "$plugins/libstspiVastDataMT.so" "$plugins/.libstspiVastData.so.new"
    echo "removed $plugins/libstspiVastData.so; $etc stays" ;;
  *) sed -n 2,5p "$0"; exit 2 ;;
esac
