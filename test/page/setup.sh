#!/usr/bin/env bash
# Installs Chromium and Node.js, as root, on a system with apt, and playwright-core beside this file. Does nothing
# when all are there, and leaves what it cannot install to the test to name.
set -euo pipefail
cd "$(dirname "$0")"

. ../packages.sh

need node nodejs
need npm npm
command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || need chromium chromium

if ((${#missing[@]} > 0)); then
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "missing, and not to be installed without root and apt: ${missing[*]}" >&2
		exit 0
	fi
	install_missing
fi
cmp -s package-lock.json node_modules/.of || {
	retry npm ci --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/.of
}
