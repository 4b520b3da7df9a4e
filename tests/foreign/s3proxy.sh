#!/usr/bin/env bash
# s3proxy over a folder, from Maven Central, on loopback; Java 17 or later and Maven. A test tool, Apache-2.0, never linked.
#   tests/foreign/s3proxy.sh start | stop | install
# start prints the endpoint; credentials are vastost-test / vastost-test-secret, data lie under $VASTOST_S3PROXY_DIR.
set -euo pipefail
NAME=s3proxy PORT_DEFAULT=7073 HEALTH=/healthz
. "$(dirname "$0")/lib.sh"
# The jars stay in Maven's own repository; the class path is all that is kept here.
install() {
  have mvn java || { echo "$0: needs Java and Maven" >&2; exit 1; }
  mkdir -p "$DIR"
  cat >"$DIR/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>vastost</groupId><artifactId>s3proxy-run</artifactId><version>1</version>
  <properties><v>4.1.0</v></properties>
  <dependencyManagement><dependencies><dependency>
    <groupId>org.gaul</groupId><artifactId>s3proxy</artifactId><version>\${v}</version><type>pom</type><scope>import</scope>
  </dependency></dependencies></dependencyManagement>
  <dependencies><dependency>
    <groupId>org.gaul</groupId><artifactId>s3proxy</artifactId><version>\${v}</version>
  </dependency></dependencies>
</project>
XML
  mvn -B -q -Dstyle.color=never -f "$DIR/pom.xml" dependency:build-classpath \
    -DincludeScope=runtime -Dmdep.outputFile="$DIR/classpath"
}
serve() {
  cat >"$DIR/s3proxy.conf" <<CONF
s3proxy.endpoint=http://127.0.0.1:$PORT
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity=$KEY
s3proxy.credential=$SECRET
jclouds.provider=filesystem-nio2
jclouds.filesystem.basedir=$DIR/data
CONF
  echo '<configuration><root level="warn"/></configuration>' >"$DIR/logback.xml"
  exec java -Xmx1g -Dlogback.configurationFile="$DIR/logback.xml" -cp "$(cat "$DIR/classpath")" \
    org.gaul.s3proxy.Main --properties "$DIR/s3proxy.conf"
}
run "$@"
