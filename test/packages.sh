# Sourced by the setup.sh of each suite: installs the Debian packages whose programs are missing, as root.

missing=()

need() { # need PROGRAM PACKAGE
	command -v "$1" >/dev/null || missing+=("$2")
}

retry() { # retry COMMAND...: mirrors have their moments
	local attempt
	for attempt in 1 2 3; do
		"$@" && return
		echo "attempt $attempt of: $*" >&2
		sleep $((attempt * 5))
	done
	return 1
}

# install_missing does nothing when all are there.
install_missing() {
	((${#missing[@]} > 0)) || return 0
	export DEBIAN_FRONTEND=noninteractive
	retry apt-get update -q
	retry apt-get install -qy --no-install-recommends "${missing[@]}"
}

# stop_service ends the server that a package starts when it is installed, which nobody asked for.
stop_service() { # stop_service PACKAGE SERVICE
	if [ -d /run/systemd/system ] && [[ " ${missing[*]} " == *" $1 "* ]]; then
		systemctl disable --now "$2.service"
	fi
}
