#!/bin/sh
# build.sh FOLDER SUITE INIT PACKAGE...: a complete Debian of that suite as FOLDER/root.ext4, with its kernel (vmlinuz) and initrd
# beside it. INIT is the first program that a host starts; where it is `-`, FOLDER/tree is left as it is, to be used as a root.
# As root, with debootstrap and e2fsprogs; from the mirror that apt uses.
set -eu
folder=$1 suite=$2 init=$3
shift 3

mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
	awk '$2 !~ /-/ { print $1; exit }')
[ -n "$mirror" ] || {
	echo "apt knows no mirror of Debian: run apt-get update" >&2
	exit 1
}
tree=$folder/tree
mkdir -p "$tree"
packages=$(echo "$*" | tr ' ' ',')
debootstrap --variant=minbase --include="$packages" "$suite" "$tree" "$mirror" >"$folder/debootstrap.log" 2>&1 || {
	tail -n 20 "$folder/debootstrap.log" >&2
	exit 1
}
rm -rf "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/*
[ "$init" != - ] || exit 0

install -m 755 "$init" "$tree/host-init"
if [ -d "$tree/lib/systemd/system" ] && [ -e "$tree/sbin/init" ]; then
	printf '[Service]\nExecStart=/host-init\nStandardError=journal+console\n' >"$tree/etc/systemd/system/host.service"
	mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
	ln -s ../host.service "$tree/etc/systemd/system/multi-user.target.wants/host.service"
fi
cp "$tree"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$tree"/boot/initrd.img-* "$folder/initrd"
# Room for the target, runs and images; holes cost nothing.
mke2fs -q -F -t ext4 -d "$tree" "$folder/root.ext4" 8G
rm -rf "$tree"
