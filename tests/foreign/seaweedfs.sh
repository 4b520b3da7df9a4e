#!/usr/bin/env bash
# SeaweedFS, one process, built from its Go module, on loopback. A test tool, Apache-2.0, never linked.
#   tests/foreign/seaweedfs.sh start | stop | install
# start prints the endpoint; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_SEAWEEDFS_DIR.
set -euo pipefail
NAME=seaweedfs PORT_DEFAULT=7072 HEALTH=/healthz
. "$(dirname "$0")/lib.sh"
# Its go.mod replaces modules, so that `go install` refuses it: built where its source was unpacked.
install() {
  BIN=${WEED:-$(command -v weed || echo "$(go env GOPATH 2>/dev/null || echo "$HOME/go")/bin/weed")}
  [ -x "$BIN" ] && return
  command -v go >/dev/null || { echo "$0: neither weed nor a Go toolchain is installed" >&2; exit 1; }
  echo "building SeaweedFS from its Go module (minutes, once)" >&2
  local from to
  to=$(mktemp -d)
  from=$(cd "$to" && go mod download -json github.com/seaweedfs/seaweedfs@master | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  cp -r "$from/." "$to" && chmod -R u+w "$to"
  (cd "$to" && GOTOOLCHAIN=${GOTOOLCHAIN:-auto} go build -o "$BIN" ./weed)
  rm -rf "$to"
}
serve() {
  cat >"$DIR/s3.json" <<JSON
{ "identities": [{ "name": "test", "credentials": [{ "accessKey": "$KEY", "secretKey": "$SECRET" }],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"] }] }
JSON
  exec "$BIN" server -dir="$DIR/data" -ip=127.0.0.1 -master.port=$((PORT + 100)) -volume.port=$((PORT + 200)) \
    -filer -filer.port=$((PORT + 300)) -s3 -s3.port="$PORT" -s3.config="$DIR/s3.json" -volume.max=0
}
run "$@"
