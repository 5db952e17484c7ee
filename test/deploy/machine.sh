#!/bin/sh
# machine.sh SHARE FOLDER KEPT...: the first process of a machine, in namespaces that it was started in. It sees the files
# of the host and writes to a layer in FOLDER that is gone when it ends, but for the folders KEPT, which are the host's.
# SHARE is its /mnt. It becomes systemd, which starts nothing by itself.
set -eu
share=$1
folder=$2
shift 2

mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
mount --bind "$share" "$root/mnt"
for kept; do
	mkdir -p "$root$kept"
	mount --bind "$kept" "$root$kept"
done

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys" # these are the host's
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev" # systemd makes links in it
for node in null zero full random urandom tty; do
	: >"$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/net"
mknod -m 666 "$root/dev/net/tun" c 10 200 # whatever the mode of the host's
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
	mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
	mkdir "$root/sys/fs/cgroup/systemd"
	mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi

# What the host starts at boot is not for this one.
rm -rf "$root"/etc/systemd/system "$root"/usr/lib/systemd/system/*.wants
mkdir "$root/etc/systemd/system"
printf '[Unit]\nDefaultDependencies=no\n' >"$root/etc/systemd/system/machine.target"

cd "$root"
mkdir run/host
pivot_root . run/host
umount -l /run/host
mount --make-rshared / # as at a boot: credentials are mounted in one namespace and read in another
exec env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --unit=machine.target
