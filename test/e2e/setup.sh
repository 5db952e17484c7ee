#!/usr/bin/env bash
# Installs the programs that this suite, and the tunnel's unit tests, run in their namespaces, as root, when they are
# missing.
set -euo pipefail
. "$(dirname "$0")/../packages.sh"

need ip iproute2
need nft nftables
need nsenter util-linux
need setpriv util-linux
need curl curl
need dig bind9-dnsutils
need ping iputils-ping
need iperf3 iperf3
need dbus-daemon dbus-daemon
install_missing
