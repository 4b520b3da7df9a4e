#!/usr/bin/env bash
# moto server, which keeps everything in memory, from PyPI, on loopback. A test tool, Apache-2.0, never linked.
#   tests/foreign/moto.sh start | stop | install
# start prints the endpoint; moto takes any credentials. Data and its Python environment lie under $VASTOST_MOTO_DIR.
set -euo pipefail
NAME=moto PORT_DEFAULT=7071 HEALTH=/moto-api/
. "$(dirname "$0")/lib.sh"
install() {
  BIN=${MOTO:-$(command -v moto_server || echo "$DIR/venv/bin/moto_server")}
  [ -x "$BIN" ] || { python3 -m venv "$DIR/venv" && "$DIR/venv/bin/pip" install --quiet 'moto[server]==5.*'; }
}
serve() { exec "$BIN" -H 127.0.0.1 -p "$PORT"; }
run "$@"
