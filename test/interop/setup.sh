#!/usr/bin/env bash
# Installs the programs that the interop suite runs, as root, on a system with apt. Does nothing when all are there.
set -euo pipefail

missing=()
need() { # need PROGRAM PACKAGE
	command -v "$1" >/dev/null || missing+=("$2")
}
need ss-server shadowsocks-libev
need dig bind9-dnsutils
need nc.openbsd netcat-openbsd
need ip iproute2
need curl curl
need proxychains4 proxychains4
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

# The package starts a server of its own, which nobody asked for.
case " ${missing[*]} " in
*" shadowsocks-libev "*)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now shadowsocks-libev.service
	fi
	;;
esac
