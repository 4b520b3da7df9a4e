#!/usr/bin/env bash
# VersityGW over a folder, built from its Go module, on loopback. A test tool, Apache-2.0, never linked.
#   tests/foreign/versitygw.sh start | stop | install
# start prints the endpoint; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_VERSITYGW_DIR.
set -euo pipefail
NAME=versitygw PORT_DEFAULT=7070 HEALTH=/health
. "$(dirname "$0")/lib.sh"
install() { go_program versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0; }
serve() {
  mkdir -p "$DIR/versions"
  export ROOT_ACCESS_KEY=$KEY ROOT_SECRET_KEY=$SECRET
  exec "$BIN" --port "127.0.0.1:$PORT" --health /health --quiet posix --versioning-dir "$DIR/versions" "$DIR/data"
}
run "$@"
