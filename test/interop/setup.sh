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
need nghttpx nghttp2-proxy
need haproxy haproxy
need node nodejs
need prometheus prometheus
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

# These packages start servers of their own, which nobody asked for.
[ -d /run/systemd/system ] || exit 0
stop() { # stop PACKAGE SERVICE
	case " ${missing[*]} " in
	*" $1 "*) systemctl disable --now "$2.service" ;;
	esac
}
stop shadowsocks-libev shadowsocks-libev
stop nghttp2-proxy nghttpx
stop haproxy haproxy
stop prometheus prometheus
