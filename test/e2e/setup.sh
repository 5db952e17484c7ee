#!/usr/bin/env bash
# Installs the programs that the suite runs in its namespaces, as root, when they are missing.
set -euo pipefail

declare -A packages=([ip]=iproute2 [nft]=nftables [nsenter]=util-linux [setpriv]=util-linux [curl]=curl
	[dig]=bind9-dnsutils [ping]=iputils-ping [iperf3]=iperf3)
missing=()
for program in "${!packages[@]}"; do
	command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
if [ "${#missing[@]}" -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
fi
