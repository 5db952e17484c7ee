#!/usr/bin/env bash
# Installs the programs that these tests run, as root, on a system with apt. Does nothing when all are there.
set -euo pipefail
. "$(dirname "$0")/../packages.sh"

need systemd-analyze systemd
need ip iproute2
need unshare util-linux
need curl curl
need openssl openssl
need ssh openssh-client
need setcap libcap2-bin
need promtool prometheus
install_missing
stop_service prometheus prometheus
