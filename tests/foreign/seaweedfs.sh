#!/usr/bin/env bash
# SeaweedFS, one process, built from its Go module, on loopback. A test tool, Apache-2.0, never linked.
#   tests/foreign/seaweedfs.sh start | stop | install
# start prints the endpoint; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_SEAWEEDFS_DIR.
set -euo pipefail
NAME=seaweedfs PORT_DEFAULT=7072 HEALTH=/healthz
. "$(dirname "$0")/lib.sh"
# Its go.mod replaces modules, so that `go install` refuses it: built where its source was unpacked. It has no tag that is a Go version.
VERSION=v0.0.0-20261109003541-7506e5f91cd6
install() {
  BIN=${WEED:-$(command -v weed || echo "$(go env GOPATH 2>/dev/null || echo "$HOME/go")/bin/weed")}
  [ -x "$BIN" ] && return
  command -v go >/dev/null || { echo "$0: neither weed nor a Go toolchain is installed" >&2; exit 1; }
  echo "building SeaweedFS from its Go module (minutes, once)" >&2
  local from to
  to=$(mktemp -d)
  (cd "$to" && go mod download "github.com/seaweedfs/seaweedfs@$VERSION")
  from=$(go env GOMODCACHE)/github.com/seaweedfs/seaweedfs@$VERSION
  cp -r "$from/." "$to" && chmod -R u+w "$to"
  (cd "$to" && GOTOOLCHAIN=${GOTOOLCHAIN:-auto} go build -o "$BIN" ./weed)
  rm -rf "$to"
}
serve() {
  cat >"$DIR/s3.json" <<JSON
{ "identities": [{ "name": "test", "credentials": [{ "accessKey": "$KEY", "secretKey": "$SECRET" }],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"] }] }
JSON
  # Each bucket has volumes of its own: small ones, or a few buckets fill the disk by what they may become.
  # The ports for gRPC are 10,000 higher unless they are given, and so beyond the last one for many.
  exec "$BIN" server -dir="$DIR/data" -ip=127.0.0.1 -volume.max=10000 -master.volumeSizeLimitMB=256 -master.telemetry=false \
    -master.port=$((PORT + 1)) -master.port.grpc=$((PORT + 2)) \
    -volume.port=$((PORT + 3)) -volume.port.grpc=$((PORT + 4)) -filer -filer.port=$((PORT + 5)) \
    -filer.port.grpc=$((PORT + 6)) -s3 -s3.port="$PORT" -s3.port.grpc=$((PORT + 7)) -s3.port.iceberg=0 \
    -s3.port.lance=0 -s3.config="$DIR/s3.json"
}
run "$@"
