# What the scripts of this folder share: start, stop, install of a foreign S3 server. A script sets NAME, PORT_DEFAULT, HEALTH (a
# path that answers once the server is up) and defines install and serve (which becomes the server), and then calls run "$@".
# Data and log lie under $VASTOST_<NAME>_DIR; $VASTOST_<NAME>_PORT is the port. Keys are vastost-test / vastost-test-secret.
KEY=vastost-test
SECRET=vastost-test-secret
own() { local name="VASTOST_${NAME^^}_$1"; echo "${!name:-$2}"; }

live() { [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "http://127.0.0.1:$PORT$HEALTH")" != 000 ]; }

run() {
  DIR=$(own DIR "${TMPDIR:-/tmp}/vastost-$NAME")
  PORT=$(own PORT "$PORT_DEFAULT")
  case ${1:-} in
    install) install ;;
    start)
      live && { echo "$0: port $PORT is taken by another server; stop it first" >&2; exit 1; }
      mkdir -p "$DIR/data"
      install >&2
      export -f serve
      export DIR PORT KEY SECRET BIN=${BIN:-}
      setsid bash -c serve >"$DIR/log" 2>&1 </dev/null &
      echo $! >"$DIR/pid"
      for _ in $(seq 1 300); do
        live && { echo "http://127.0.0.1:$PORT"; exit 0; }
        kill -0 "$(cat "$DIR/pid")" 2>/dev/null || break
        sleep 0.2
      done
      echo "$0: $NAME did not come up; see $DIR/log" >&2
      exit 1 ;;
    stop)
      # The server is the leader of a session of its own. What does not end at once is still writing.
      if [ -f "$DIR/pid" ]; then
        kill -- "-$(cat "$DIR/pid")" 2>/dev/null || true
        for _ in $(seq 1 50); do kill -0 -- "-$(cat "$DIR/pid")" 2>/dev/null || break; sleep 0.2; done
        kill -9 -- "-$(cat "$DIR/pid")" 2>/dev/null || true
      fi
      rm -rf "$DIR" ;;
    *) sed -n 2,4p "$0"; exit 2 ;;
  esac
}

# True when all of these programs are there.
have() { local name; for name in "$@"; do command -v "$name" >/dev/null || return; done; }

# Builds a Go module's program once; sets BIN.
go_program() {
  BIN=${BIN:-$(command -v "$1" || echo "$(go env GOPATH 2>/dev/null || echo "$HOME/go")/bin/$1")}
  [ -x "$BIN" ] && return
  command -v go >/dev/null || { echo "$0: neither $1 nor a Go toolchain is installed" >&2; exit 1; }
  echo "building $1 from its Go module $2 (minutes, once)" >&2
  GOTOOLCHAIN=${GOTOOLCHAIN:-auto} go install "$2"
}
