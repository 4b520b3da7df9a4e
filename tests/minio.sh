#!/usr/bin/env bash
# A real MinIO without a container engine: built from its Go module, started on loopback. A test tool, AGPL-3.0, never linked.
#   tests/minio.sh start | stop | install
# start prints the endpoint; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_MINIO_DIR.
set -euo pipefail
VERSION=v0.0.0-20260212201848-7aac2a2c5b7c # the last of the archived repository
DIR=${VASTOST_MINIO_DIR:-${TMPDIR:-/tmp}/vastost-minio}
PORT=${VASTOST_MINIO_PORT:-9000}
BIN=${MINIO:-$(command -v minio || echo "$(go env GOPATH 2>/dev/null || echo "$HOME/go")/bin/minio")}

install() {
  [ -x "$BIN" ] && return
  command -v go >/dev/null || { echo "tests/minio.sh: neither minio nor a Go toolchain is installed" >&2; exit 1; }
  echo "building MinIO $VERSION from its Go module (a few minutes, once)" >&2
  GOTOOLCHAIN=${GOTOOLCHAIN:-local} go install "github.com/minio/minio@$VERSION"
}

live() { curl -sf -m 2 "http://127.0.0.1:$PORT/minio/health/live" >/dev/null; }

case ${1:-} in
  install) install ;;
  start)
    install
    live && { echo "tests/minio.sh: port $PORT is taken by another MinIO; stop it first" >&2; exit 1; }
    mkdir -p "$DIR/data"
    # Removed buckets free their space at once, not in five minutes.
    MINIO_ROOT_USER=vastost-test MINIO_ROOT_PASSWORD=vastost-test-secret MINIO_CI_CD=1 \
      MINIO_API_DELETE_CLEANUP_INTERVAL=10s \
      setsid "$BIN" server "$DIR/data" --address "127.0.0.1:$PORT" >"$DIR/log" 2>&1 </dev/null &
    echo $! >"$DIR/pid"
    for _ in $(seq 1 100); do live && { echo "http://127.0.0.1:$PORT"; exit 0; }; sleep 0.2; done
    echo "tests/minio.sh: MinIO did not come up; see $DIR/log" >&2; exit 1 ;;
  stop)
    [ -f "$DIR/pid" ] && kill "$(cat "$DIR/pid")" 2>/dev/null || true
    rm -rf "$DIR" ;;
  *) sed -n 2,4p "$0"; exit 2 ;;
esac
