#!/usr/bin/env bash
# VersityGW over a folder, built from its Go module, on loopback. A test tool, Apache-2.0, never linked.
#   tests/foreign/versitygw.sh start | stop | install
# start prints the endpoint; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_VERSITYGW_DIR.
set -euo pipefail
VERSION=v1.8.0
DIR=${VASTOST_VERSITYGW_DIR:-${TMPDIR:-/tmp}/vastost-versitygw}
PORT=${VASTOST_VERSITYGW_PORT:-7070}
BIN=${VERSITYGW:-$(command -v versitygw || echo "$(go env GOPATH 2>/dev/null || echo "$HOME/go")/bin/versitygw")}

install() {
  [ -x "$BIN" ] && return
  command -v go >/dev/null || { echo "versitygw.sh: neither versitygw nor a Go toolchain is installed" >&2; exit 1; }
  echo "building VersityGW $VERSION from its Go module (a few minutes, once)" >&2
  GOTOOLCHAIN=${GOTOOLCHAIN:-auto} go install "github.com/versity/versitygw/cmd/versitygw@$VERSION"
}

live() { curl -sf -m 2 "http://127.0.0.1:$PORT/health" >/dev/null; }

case ${1:-} in
  install) install ;;
  start)
    install
    live && { echo "versitygw.sh: port $PORT is taken by another server; stop it first" >&2; exit 1; }
    mkdir -p "$DIR/data" "$DIR/versions"
    ROOT_ACCESS_KEY=vastost-test ROOT_SECRET_KEY=vastost-test-secret \
      setsid "$BIN" --port "127.0.0.1:$PORT" --health /health --quiet posix --versioning-dir "$DIR/versions" "$DIR/data" \
      >"$DIR/log" 2>&1 </dev/null &
    echo $! >"$DIR/pid"
    for _ in $(seq 1 100); do live && { echo "http://127.0.0.1:$PORT"; exit 0; }; sleep 0.2; done
    echo "versitygw.sh: VersityGW did not come up; see $DIR/log" >&2; exit 1 ;;
  stop)
    [ -f "$DIR/pid" ] && kill "$(cat "$DIR/pid")" 2>/dev/null || true
    rm -rf "$DIR" ;;
  *) sed -n 2,4p "$0"; exit 2 ;;
esac
