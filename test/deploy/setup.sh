#!/usr/bin/env bash
# Installs the programs that these tests run, as root, on a system with apt. Does nothing when all are there.
set -euo pipefail

missing=()
need() { # need PROGRAM PACKAGE
	command -v "$1" >/dev/null || missing+=("$2")
}
need systemd-analyze systemd
need ip iproute2
need unshare util-linux
need curl curl
need openssl openssl
need ssh openssh-client
need setcap libcap2-bin
need promtool prometheus
((${#missing[@]} > 0)) || exit 0

export DEBIAN_FRONTEND=noninteractive
retry() {
	local attempt
	for attempt in 1 2 3; do
		"$@" && return
		echo "attempt $attempt of: $*" >&2
		sleep $((attempt * 5))
	done
	return 1
}
retry apt-get update -q
retry apt-get install -qy --no-install-recommends "${missing[@]}"

# This package starts a server of its own, which nobody asked for.
if [ -d /run/systemd/system ] && [[ " ${missing[*]} " == *" prometheus "* ]]; then
	systemctl disable --now prometheus.service
fi
