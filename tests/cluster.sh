#!/usr/bin/env bash
# Four MinIO nodes, each a host of its own in a network namespace: a real distributed store to break on purpose.
#   tests/cluster.sh up | down | kill N | start N | cut N | mend N | status
# up prints the four endpoints; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_CLUSTER_DIR.
# kill ends node N as a power cut does, cut takes its network away; start and mend return when all four see each other.
# Two clusters at once need different $VASTOST_CLUSTER_NAME (at most 9 characters) and $VASTOST_CLUSTER_NET (a /24).
# Needs root and iproute2; up ends with code 3 and one line where no namespace can be made.
set -euo pipefail
NAME=${VASTOST_CLUSTER_NAME:-vastost}
NET=${VASTOST_CLUSTER_NET:-198.18.0} # 198.18.0.0/15 is for tests of networks: RFC 2544
DIR=${VASTOST_CLUSTER_DIR:-${TMPDIR:-/tmp}/$NAME-cluster}
export MINIO=${MINIO:-$(command -v minio || echo "$(go env GOPATH 2>/dev/null || echo "$HOME/go")/bin/minio")}
NODES=(1 2 3 4)
READY_SECONDS=90

die() { echo "tests/cluster.sh: $1" >&2; exit "${2:-1}"; }
address() { echo "http://$NET.$1:9000"; }
node() { [[ ${1:-} =~ ^[1-4]$ ]] || die "which node? 1 to 4"; echo "$1"; }

launch() {
  local urls=() i
  for i in "${NODES[@]}"; do urls+=("$(address "$i")$DIR/n$i"); done
  mkdir -p "$DIR/n$1"
  MINIO_ROOT_USER=vastost-test MINIO_ROOT_PASSWORD=vastost-test-secret MINIO_CI_CD=1 \
    setsid ip netns exec "$NAME$1" "$MINIO" server "${urls[@]}" --address ":9000" >>"$DIR/n$1.log" 2>&1 </dev/null &
  echo $! >"$DIR/n$1.pid"
}

# A node that could be taken away for maintenance sees the three others in good order.
sees_all() { curl -sf -m 5 "$(address "$1")/minio/health/cluster?maintenance=true" >/dev/null; }
live() { curl -sf -m 2 "$(address "$1")/minio/health/live" >/dev/null; }

whole() {
  local i until=$((SECONDS + READY_SECONDS))
  for i in "${NODES[@]}"; do
    until sees_all "$i"; do
      [ $SECONDS -lt $until ] || die "node $i does not see the others after $READY_SECONDS s; see $DIR/n*.log"
      sleep 0.3
    done
  done
}

network() {
  local i
  ip addr add "$NET.254/24" dev "$NAME-br"
  ip link set "$NAME-br" up
  for i in "${NODES[@]}"; do
    [ "$i" = 1 ] || ip netns add "$NAME$i"
    ip link add "$NAME-h$i" type veth peer name eth0 netns "$NAME$i"
    ip link set "$NAME-h$i" master "$NAME-br" up
    ip -n "$NAME$i" link set lo up
    ip -n "$NAME$i" addr add "$NET.$i/24" dev eth0
    ip -n "$NAME$i" link set eth0 up
  done
}

down() {
  local i
  for i in "${NODES[@]}"; do
    [ -f "$DIR/n$i.pid" ] && kill -9 "$(cat "$DIR/n$i.pid")" 2>/dev/null || true
    ip netns del "$NAME$i" 2>/dev/null || true
    ip link del "$NAME-h$i" 2>/dev/null || true
  done
  ip link del "$NAME-br" 2>/dev/null || true
  rm -rf "$DIR"
}

up() {
  command -v ip >/dev/null || die "no namespaces: iproute2 is not installed" 3
  [ ! -e "$DIR" ] || die "$DIR exists: another cluster, or one to take down"
  [ ! -e "/run/netns/${NAME}1" ] || die "namespace ${NAME}1 exists: another cluster of this name, or one to take down"
  # The first of each kind is the proof that more can be made.
  ip netns add "$NAME"1 2>/dev/null || die "no namespaces: not permitted (root with CAP_NET_ADMIN and CAP_SYS_ADMIN can)" 3
  trap down EXIT
  ip link add "$NAME-br" type bridge 2>/dev/null || die "no namespaces: no network bridge can be made" 3
  "$(dirname "$0")/minio.sh" install
  network
  mkdir -p "$DIR"
  for i in "${NODES[@]}"; do launch "$i"; done
  whole
  trap - EXIT
  for i in "${NODES[@]}"; do address "$i"; done
}

case ${1:-} in
  up) up ;;
  down) down ;;
  kill) kill -9 "$(cat "$DIR/n$(node "${2:-}").pid")" ;;
  start) launch "$(node "${2:-}")"; whole ;;
  cut) ip link set "$NAME-h$(node "${2:-}")" down ;;
  mend) ip link set "$NAME-h$(node "${2:-}")" up; whole ;;
  status) for i in "${NODES[@]}"; do if live "$i"; then echo "node $i live"; else echo "node $i dead"; fi; done ;;
  *) sed -n 3,7p "$0"; exit 2 ;;
esac
