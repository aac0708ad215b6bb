#!/bin/bash
# Runs inside the image while it is built: makes CentOS 7's look-alike of a Debian tree, and the lab's mirror.
#
# /hapair-build/files   what hapair carries with it
# /hapair-build/tree    files to install as they are
# /hapair-build/out     what leaves the image: mirror/ tools/ disc/
set -euo pipefail
export LC_ALL=C HOME=/hapair-build/home DEBIAN_FRONTEND=noninteractive
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd /hapair-build
mkdir -p home stash out/tools out/mirror out/disc
files=/hapair-build/files
out=/hapair-build/out

version_of() { # Debian package -> upstream version that rpm accepts
  dpkg-query -W -f '${Version}' "$1" | sed -e 's/^[0-9]*://' -e 's/-[^-]*$//' -e 's/[^0-9A-Za-z.+~]/./g'
}
nginx_version=$(version_of nginx)
keepalived_version=$(version_of keepalived)

echo "step: setting the servers aside"
cp -p /usr/sbin/nginx /usr/sbin/keepalived /usr/bin/genhash /usr/sbin/dnsmasq stash/
cp -p /etc/nginx/mime.types /etc/nginx/fastcgi_params /etc/nginx/scgi_params /etc/nginx/uwsgi_params stash/
cp -p stash/nginx stash/dnsmasq stash/mime.types out/tools/
# Only their libraries stay: on a bare host neither program is there.
dpkg --purge --force-depends nginx nginx-common keepalived dnsmasq-base >/dev/null 2>&1
rm -rf /etc/nginx /etc/keepalived /usr/share/nginx /var/lib/nginx /var/log/nginx
for left in /usr/sbin/nginx /usr/sbin/keepalived /usr/sbin/dnsmasq; do
  [ ! -e "$left" ] || { echo "still there: $left" >&2; exit 1; }
done

echo "step: making it look like CentOS 7"
( cd tree; find . -type f -printf '%m %P\n' ) | while read -r mode path; do
  rm -f "/$path"
  install -D -m "$mode" "tree/$path" "/$path"
done
rm -f /etc/os-release; cp tree/usr/lib/os-release /usr/lib/os-release; ln -s ../usr/lib/os-release /etc/os-release
rm -f /etc/debian_version /etc/lsb-release /etc/issue /etc/issue.net /etc/motd
rm -rf /etc/update-motd.d /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/99mmdebstrap /etc/apt/auth.conf* /etc/network
ln -sf centos-release /etc/redhat-release
ln -sf centos-release /etc/system-release
mkdir -p /etc/rc.d/init.d /etc/sysconfig/network-scripts /etc/pki/rpm-gpg /etc/pki/tls/certs /usr/libexec/openssh /etc/yum/vars /media /mnt
ln -sf /etc/rc.d/init.d/network /usr/sbin/ifup
ln -sf /etc/rc.d/init.d/network /usr/sbin/ifdown
ln -sf /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server
ln -sf dnf-3 /usr/bin/yum
ln -sf dnf/dnf.conf /etc/yum.conf
mkdir -p /etc/dnf/vars
echo 7 > /etc/dnf/vars/releasever
echo x86_64 > /etc/dnf/vars/basearch
echo stock > /etc/yum/vars/infra
ln -sf ../../../ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt
printf '127.0.0.1   localhost localhost.localdomain localhost4 localhost4.localdomain4\n::1         localhost localhost.localdomain localhost6 localhost6.localdomain6\n' > /etc/hosts
echo localhost.localdomain > /etc/hostname
printf '# Created by anaconda\n' > /etc/sysconfig/network
mkdir -p /etc/default; : > /etc/default/locale
getent group wheel >/dev/null || groupadd -r -g 10 wheel 2>/dev/null || groupadd -r wheel
grep -q '^vrrp' /etc/protocols || echo 'vrrp	112	VRRP' >> /etc/protocols
cp /etc/skel/.bashrc /root/.bashrc 2>/dev/null || :
cat "$files/profile.sh" > /root/.bashrc
passwd -l root >/dev/null 2>&1 || :

echo "step: choosing the services"
printf 'enable sshd.service\nenable firewalld.service\ndisable *\n' > /usr/lib/systemd/system-preset/00-lab.preset
rm -f /etc/ssh/ssh_host_*; rm -rf /etc/ssh/sshd_config.d
rm -rf /etc/systemd/system/*.wants /etc/systemd/system/sshd.service /lib/systemd/system/ssh.service /lib/systemd/system/ssh.socket /lib/systemd/system/ssh@.service
rm -f /etc/systemd/system/dbus-org.freedesktop.nm-dispatcher.service
rm -rf /etc/init.d/*
systemctl -q enable sshd.service network.service firewalld.service
ln -sfn multi-user.target /etc/systemd/system/default.target
ln -sfn /lib/systemd/system/multi-user.target /etc/systemd/system/default.target
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
  systemd-pstore.service getty.target console-getty.service systemd-firstboot.service systemd-resolved.service \
  systemd-networkd.service systemd-machine-id-commit.service dev-hugepages.mount sys-kernel-debug.mount \
  sys-kernel-tracing.mount sys-kernel-config.mount modprobe@.service systemd-modules-load.service \
  systemd-timesyncd.service nftables.service; do
  ln -sfn /dev/null "/etc/systemd/system/$unit"
done
# NetworkManager is there but off: Debian's cannot read ifcfg files, so on this twin network.service owns the interfaces.
mkdir -p /etc/NetworkManager/conf.d
rm -f /etc/NetworkManager/NetworkManager.conf
printf '[main]\nplugins=keyfile\ndhcp=internal\nno-auto-default=*\n' > /etc/NetworkManager/NetworkManager.conf

echo "step: keys of the lab"
export GNUPGHOME=/hapair-build/gnupg
mkdir -p -m 700 "$GNUPGHOME"
make_key() { # FILE "NAME <MAIL>"
  gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key "$2" rsa2048 sign never
  gpg --batch --quiet --armor --export "$2" > "$1"
}
make_key RPM-GPG-KEY-CentOS-7 'hapair lab, in the place of CentOS 7 <centos@lab.invalid>'
make_key nginx_signing.key 'hapair lab, in the place of nginx <nginx@lab.invalid>'
install -m 644 RPM-GPG-KEY-CentOS-7 /etc/pki/rpm-gpg/RPM-GPG-KEY-CentOS-7

openssl req -x509 -newkey rsa:2048 -nodes -days 7300 -subj '/O=hapair lab/CN=hapair lab authority' \
  -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign' \
  -keyout ca.key -out ca.crt 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj '/CN=mirrors.aliyun.com' -keyout server.key -out server.csr 2>/dev/null
names=$(sed -e 's/^/DNS:/' "$files/mirror-names" | paste -sd,)
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 7300 -out server.crt \
  -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\n' "$names") 2>/dev/null
install -D -m 644 ca.crt /usr/local/share/ca-certificates/hapair-lab.crt
update-ca-certificates >/dev/null 2>&1
mkdir -p out/tools/tls
cp server.crt out/tools/tls/
install -m 600 server.key out/tools/tls/server.key

echo "step: packages"
rpm --initdb
base_names='bash coreutils cronie curl dbus firewalld glibc iproute iptables iputils kernel libselinux-utils nftables
  NetworkManager openssh openssh-clients openssh-server openssl policycoreutils procps-ng psmisc rpm sed shadow-utils sudo
  systemd tcpdump util-linux wget yum'
debian_name() {
  case "$1" in
    openssh|openssh-clients) echo openssh-client ;; NetworkManager) echo network-manager ;; procps-ng) echo procps ;;
    iproute) echo iproute2 ;; iputils) echo iputils-ping ;; libselinux-utils) echo selinux-utils ;; yum) echo dnf ;;
    shadow-utils) echo passwd ;; glibc) echo libc6 ;; *) echo "$1" ;;
  esac
}
for name in $base_names initscripts; do
  case "$name" in
    initscripts|kernel|cronie) version=1 ;;
    *) version=$(version_of "$(debian_name "$name")") ;;
  esac
  printf '%%package -n %s\nVersion: %s\nRelease: 1.lab\nSummary: Stand-in for %s\nAutoReqProv: no\n%%description -n %s\nThe files come from Debian.\n%%files -n %s\n\n' \
    "$name" "$version" "$name" "$name" "$name"
done > base.inc
devtools=$(sed -n 's|.*<packagereq[^>]*>\(.*\)</packagereq>.*|\1|p' "$files/comps.xml" | xargs)
for name in $devtools; do
  printf '%%package -n %s\nSummary: Stand-in for %s\nAutoReqProv: no\n%%description -n %s\nNothing but the name.\n%%files -n %s\n/usr/share/doc/hapair-lab/%s\n\n' \
    "$name" "$name" "$name" "$name" "$name"
done > devtools.inc

build() { # SPEC [DEFINES]
  local spec=$1; shift
  rpmbuild -bb --quiet --define "_topdir /hapair-build/rpm" --define "carried $files" --define "stash /hapair-build/stash" \
    --define "_build_id_links none" --define "_binary_payload w1.gzdio" "$@" "$files/$spec" >rpmbuild.log 2>&1 ||
    { cat rpmbuild.log >&2; exit 1; }
}
take() { # DIRECTORY: moves what was built
  mkdir -p "$1"; find rpm/RPMS -name '*.rpm' -exec mv -t "$1" {} +
}
sign() { # KEY FILES
  local key=$1; shift
  rpmsign --define "_gpg_name $key" --define "__gpg /usr/bin/gpg" --addsign "$@" >rpmsign.log 2>&1 || { cat rpmsign.log >&2; exit 1; }
}
build base.spec --define "base_include /hapair-build/base.inc"; take pkg/base
build devtools.spec --define "devtools_names $devtools" --define "devtools_include /hapair-build/devtools.inc"; take pkg/os
build keepalived.spec --define "keepalived_version $keepalived_version"; take pkg/os
build nginx.spec --define "nginx_version $nginx_version" --define "nginx_release 1"; take pkg/stable
build nginx.spec --define "nginx_version $nginx_version" --define "nginx_release 2"; take pkg/mainline
build unsigned.spec; take pkg/extras
cp pkg/base/centos-release-*.rpm pkg/os/
rpm -i --nosignature pkg/base/*.rpm 2>rpm.log || { cat rpm.log >&2; exit 1; }
sign centos@lab.invalid pkg/os/*.rpm
sign nginx@lab.invalid pkg/stable/*.rpm pkg/mainline/*.rpm

echo "step: mirror"
repo() { # DIRECTORY PACKAGES [OPTIONS]
  mkdir -p "$1/Packages"
  [ -z "$2" ] || cp -l $2 "$1/Packages/"
  createrepo_c --quiet ${3:+-g $3} "$1"
}
www=$out/mirror
centos=$www/pool/centos/7
repo "$centos/os/x86_64" "$(echo pkg/os/*.rpm)" "$files/comps.xml"
repo "$centos/updates/x86_64" ""
repo "$centos/extras/x86_64" "$(echo pkg/extras/*.rpm)"
repo "$centos/centosplus/x86_64" ""
mkdir -p "$www/mirrors.aliyun.com/centos" "$www/mirrors.aliyun.com/centos-vault" "$www/mirrors.aliyun.com/repo" "$www/vault.centos.org/centos" "$www/nginx.org/keys"
for name in mirrors.aliyun.com/centos mirrors.aliyun.com/centos-vault vault.centos.org vault.centos.org/centos; do
  cp RPM-GPG-KEY-CentOS-7 "$www/$name/RPM-GPG-KEY-CentOS-7"
done
ln -s ../../pool/centos/7 "$www/mirrors.aliyun.com/centos/7"
ln -s ../../pool/centos/7 "$www/mirrors.aliyun.com/centos/7.9.2009"
ln -s ../../pool/centos/7 "$www/mirrors.aliyun.com/centos-vault/7.9.2009"
ln -s ../pool/centos/7 "$www/vault.centos.org/7.9.2009"
ln -s ../../pool/centos/7 "$www/vault.centos.org/centos/7.9.2009"
cp "$files/Centos-7.repo" "$www/mirrors.aliyun.com/repo/Centos-7.repo"
cp nginx_signing.key "$www/nginx.org/keys/nginx_signing.key"
repo "$www/nginx.org/packages/centos/7/x86_64" "$(echo pkg/stable/*.rpm)"
repo "$www/nginx.org/packages/mainline/centos/7/x86_64" "$(echo pkg/mainline/*.rpm)"

echo "step: installation disc"
disc=$out/disc
repo "$disc" "$(echo pkg/os/*.rpm)" "$files/comps.xml"
printf '1604001756.994652\n7.9\nx86_64\n' > "$disc/.discinfo"
cp RPM-GPG-KEY-CentOS-7 "$disc/"

echo "step: tidying"
gpgconf --kill all >/dev/null 2>&1 || :
rm -rf /var/cache/dnf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /etc/machine-id /var/lib/dbus/machine-id
: > /etc/resolv.conf
rm -f /etc/resolv.conf.save
rm -rf /var/log/*; mkdir -p -m 2755 /var/log/journal
