#!/usr/bin/env bash
# Installs the programs that the interop suite runs, as root, on a system with apt. Does nothing when all are there.
set -euo pipefail
. "$(dirname "$0")/../packages.sh"

need ss-server shadowsocks-libev
need dig bind9-dnsutils
need nc.openbsd netcat-openbsd
need ip iproute2
need curl curl
need proxychains4 proxychains4
need nghttpx nghttp2-proxy
need haproxy haproxy
need node nodejs
need prometheus prometheus
install_missing
stop_service shadowsocks-libev shadowsocks-libev
stop_service nghttp2-proxy nghttpx
stop_service haproxy haproxy
stop_service prometheus prometheus
