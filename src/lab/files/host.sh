#!/bin/sh
# One twin host: PID 1 of a private pid namespace, in a private mount namespace. Killing it takes away everything.
# Called by hapair with LAB_* set; calls itself as `host.sh boot` in a fresh network namespace for every boot.
set -eu

if [ "${1:-}" = boot ]; then
  # A boot finds the interface as a machine's firmware leaves it: present, down, without addresses, no packet filter.
  for number in 0 1; do
    eval "interface=\${LAB_IF$number:-} port=\${LAB_PORT$number:-} mac=\${LAB_MAC$number:-}"
    [ -n "$interface" ] || continue
    # The namespace of the boot before may not be gone yet, and its end of the cable with it.
    ip -n "$LAB_BRIDGE" link delete "$port" 2>/dev/null || :
    ip link add name "$interface" address "$mac" type veth peer name "$port" netns "$LAB_BRIDGE"
    ip -n "$LAB_BRIDGE" link set "$port" mtu 9216 master br0
    [ -e "$LAB_DIR/cut" ] || ip -n "$LAB_BRIDGE" link set "$port" up
  done
  set -- --quiet --register=no --keep-unit --settings=no --private-users=no --link-journal=no --resolv-conf=off --timezone=off \
    --directory=/run/twin --machine="$LAB_MACHINE" --hostname=localhost.localdomain \
    --network-namespace-path=/proc/self/ns/net --capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_SYS_NICE,CAP_IPC_LOCK \
    --console=read-only --kill-signal=SIGRTMIN+3
  [ -z "${LAB_DISC_AT:-}" ] || set -- "$@" "--bind-ro=$LAB_DISC:$LAB_DISC_AT"
  exec env -i PATH="$PATH" SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_LOG_LEVEL=warning systemd-nspawn "$@" --boot
fi

# A private /run: nspawn leaves its runtime files there. Only the lab's state and the named namespaces show through.
stage=$LAB_DIR/run
mkdir -p "$stage"
mount -n -t tmpfs -o mode=755 tmpfs "$stage"
mkdir -p "$stage/hapair" "$stage/netns" "$stage/twin"
mount -n --bind /run/hapair "$stage/hapair"
mount -n --rbind /run/netns "$stage/netns"
mount -n --move "$stage" /run
mount -n -t overlay -o "lowerdir=$LAB_LOWER,upperdir=$LAB_DIR/upper,workdir=$LAB_DIR/work" overlay /run/twin

while :; do
  status=0
  unshare --net /bin/sh "$0" boot || status=$?
  echo "hapair: the host ended with status $status"
  # 133: reboot. Everything else is a power-off, and stays so until hapair starts this script again.
  [ "$status" = 133 ] || exit "$status"
done
