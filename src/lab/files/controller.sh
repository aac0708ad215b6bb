#!/bin/sh
# What surrounds the twins, in the controller's network namespace: mirror and upstreams (nginx), resolver (dnsmasq).
# PID 1 of a private pid namespace, in a private mount namespace; the programs come from the image.
set -eu

stage=$LAB_DIR/root
mkdir -p "$stage"
mount -n -t overlay -o "lowerdir=$LAB_LOWER" overlay "$stage"
for directory in run tmp var/log srv; do mount -n -t tmpfs -o mode=755 tmpfs "$stage/$directory"; done
mount -n -t proc proc "$stage/proc"
mount -n --rbind /dev "$stage/dev"
mkdir -p "$stage/srv/tools" "$stage/srv/mirror" "$stage/srv/conf" "$stage/srv/tmp"
mount -n --bind "$LAB_IMAGE/tools" "$stage/srv/tools"
mount -n --bind "$LAB_IMAGE/mirror" "$stage/srv/mirror"
mount -n --bind "$LAB_DIR/conf" "$stage/srv/conf"

keep() { # a server that ends is started again: a lab must not fail because of its surroundings
  while :; do
    chroot "$stage" "$@" </dev/null || :
    echo "hapair: $1 ended"
    sleep 1
  done
}
keep /srv/tools/dnsmasq --keep-in-foreground --conf-file=/srv/conf/dnsmasq.conf &
keep /srv/tools/nginx -e stderr -c /srv/conf/nginx.conf &
wait
