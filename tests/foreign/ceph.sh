#!/usr/bin/env bash
# Ceph RGW with one monitor and one OSD on a file, from Debian's packages, on loopback. A test tool, LGPL-2.1, never linked.
#   tests/foreign/ceph.sh start | stop | install
# start prints the endpoint; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_CEPH_DIR. install, and a
# start without the programs, installs system packages, which only root can do; the servers run as whoever starts them.
set -euo pipefail
NAME=ceph PORT_DEFAULT=7080 HEALTH=/
. "$(dirname "$0")/lib.sh"
install() {
  have ceph ceph-mon ceph-osd radosgw radosgw-admin uuidgen && return
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ceph-base ceph-mon ceph-osd radosgw uuid-runtime
}
serve() {
  set -euo pipefail
  local fsid osd addresses="[v2:127.0.0.1:$((PORT + 1)),v1:127.0.0.1:$((PORT + 2))]"
  fsid=$(uuidgen) osd=$(uuidgen)
  export CEPH_CONF=$DIR/ceph.conf
  cat >"$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon_host = $addresses
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_port_min = $((PORT + 3))
ms_bind_port_max = $((PORT + 30))
keyring = $DIR/keyring
run_dir = $DIR
admin_socket = $DIR/\$name.\$pid.asok
log_file = $DIR/\$name.log
mon_cluster_log_file = $DIR/cluster.log
crash_dir = $DIR/crash
mon_data = $DIR/data/mon
mon_allow_pool_size_one = true
mon_data_avail_crit = 1
osd_data = $DIR/data/osd
osd_objectstore = bluestore
osd_memory_target = 1073741824
bluestore_block_size = 34359738368
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
rgw_data = $DIR/data/rgw
rgw_frontends = beast endpoint=127.0.0.1:$PORT
CONF
  mkdir -p "$DIR/data/mon" "$DIR/data/osd" "$DIR/data/rgw" "$DIR/crash"
  ceph-authtool --create-keyring "$DIR/keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$DIR/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool "$DIR/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  monmaptool --create --fsid "$fsid" --addv a "$addresses" "$DIR/monmap"
  ceph-mon -i a --mkfs --monmap "$DIR/monmap" --keyring "$DIR/keyring"
  ceph-mon -i a -f &
  ceph-osd -i "$(ceph osd new "$osd")" --mkfs --osd-uuid "$osd"
  ceph-osd -i 0 -f &
  radosgw-admin user create --uid=test --display-name=test --access-key="$KEY" --secret-key="$SECRET" --max-buckets=0
  exec radosgw -n client.admin -f
}
run "$@"
