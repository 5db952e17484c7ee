#!/usr/bin/env bash
# Installs Chromium and Node.js, as root, on a system with apt, and playwright-core beside this file. Does nothing
# when all are there, and leaves what it cannot install to the test to name.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
	missing+=(chromium)

retry() {
	local attempt
	for attempt in 1 2 3; do
		"$@" && return
		echo "attempt $attempt of: $*" >&2
		sleep $((attempt * 5))
	done
	return 1
}
if ((${#missing[@]} > 0)); then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "missing, and not to be installed without root and apt: ${missing[*]}" >&2
		exit 0
	fi
	export DEBIAN_FRONTEND=noninteractive
	retry apt-get update -q
	retry apt-get install -qy --no-install-recommends "${missing[@]}"
fi
cmp -s package-lock.json node_modules/.of || {
	retry npm ci --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/.of
}
