# A libvirtd of one's own, in namespaces of its own: private_host.sh DIRECTORY COMMAND...
#
# Runs as the first process of fresh mount, net, uts and pid namespaces (see private_host.rs). Nothing of it is seen
# by the machine's own libvirtd, and all of it ends with this process.
set -eu
dir=$1
shift
mount --make-rprivate /
hostname foundry-private
# libvirt looks its own name up at each definition; a name server that does not know it costs seconds.
printf '127.0.0.1 localhost foundry-private\n' >"$dir/hosts"
mount --bind "$dir/hosts" /etc/hosts

mkdir -p "$dir"/etc "$dir"/lib/images "$dir"/lib/boot "$dir"/lib/qemu "$dir"/cache "$dir"/log/qemu "$dir"/run "$dir"/home "$dir"/tmp
cp -a /etc/libvirt/. "$dir/etc/"
rm -rf "$dir"/etc/qemu/*.xml "$dir/etc/qemu/autostart" "$dir/etc/qemu/networks" "$dir/etc/storage"
# What libvirtd knows of the QEMU binaries; without it the first call waits for seconds.
cp -a /var/cache/libvirt/. "$dir/cache/"
chown --reference=/var/lib/libvirt/qemu "$dir/lib/qemu"
mount --bind "$dir/etc" /etc/libvirt
mount --bind "$dir/lib" /var/lib/libvirt
mount --bind "$dir/cache" /var/cache/libvirt
mount --bind "$dir/log" /var/log/libvirt
mkdir -p /run/libvirt
mount --bind "$dir/run" /run/libvirt
# Where foundries take turns: those in here know nothing of the machine's own.
[ -d /run/foundry ] || install -d -m 0770 /run/foundry
mount -t tmpfs -o mode=0770 tmpfs /run/foundry
printf 'host_uuid = "%s"\n' "$(cat /proc/sys/kernel/random/uuid)" >>/etc/libvirt/libvirtd.conf
# The tree of control groups is shared with the machine's own libvirtd.
printf 'cgroup_controllers = []\n' >>/etc/libvirt/qemu.conf

# The kernel's list of network interfaces is that of the namespace in which sysfs was mounted.
mount -t sysfs sysfs /sys
ip link set lo up
ip link add br0 type bridge
ip address add 10.77.0.1/24 dev br0
ip link set br0 up

virtlogd -d -p /run/libvirt/virtlogd.pid
libvirtd -d -p /run/libvirt/libvirtd.pid
for _ in $(seq 100); do
    [ -S /run/libvirt/libvirt-sock ] && break
    sleep 0.05
done
export HOME="$dir/home" TMPDIR="$dir/tmp"
exec 3<&0
# In the background, so that this process reaps the QEMUs that are left to it while it waits.
"$@" 3<&- &
command=$!
# Whoever started this holds the other end of its standard input, and may be killed.
{ cat >/dev/null; kill "$command"; } <&3 &
status=0
wait "$command" || status=$?
# They would make files while these are removed. Whatever else runs ends with this process.
kill -KILL "$(cat /run/libvirt/libvirtd.pid)" "$(cat /run/libvirt/virtlogd.pid)" || true
rm -rf "$dir" || rm -rf "$dir" || true
exit "$status"
