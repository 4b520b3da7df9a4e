#!/usr/bin/env bash
# SeaweedFS, one process, built from its Go module, on loopback. A test tool, Apache-2.0, never linked.
#   tests/foreign/seaweedfs.sh start | stop | install
# start prints the endpoint; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_SEAWEEDFS_DIR.
set -euo pipefail
NAME=seaweedfs PORT_DEFAULT=7072 HEALTH=/healthz
. "$(dirname "$0")/lib.sh"
install() { go_program weed github.com/seaweedfs/seaweedfs/weed@latest; }
serve() {
  cat >"$DIR/s3.json" <<JSON
{ "identities": [{ "name": "test", "credentials": [{ "accessKey": "$KEY", "secretKey": "$SECRET" }],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"] }] }
JSON
  exec "$BIN" server -dir="$DIR/data" -ip=127.0.0.1 -master.port=$((PORT + 100)) -volume.port=$((PORT + 200)) \
    -filer -filer.port=$((PORT + 300)) -s3 -s3.port="$PORT" -s3.config="$DIR/s3.json" -volume.max=0
}
run "$@"
