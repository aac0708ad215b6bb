"""The bootstrap that `hapair apply` does, as pyinfra operations: same files (byte by byte), same services."""

import json
import os

from pyinfra import host
from pyinfra.operations import files, server, systemd, yum

with open(os.environ["BENCH_SETTINGS"], encoding="utf-8") as _file:
    settings = json.load(_file)
with open(os.environ["BENCH_VARS"], encoding="utf-8") as _file:
    work = json.load(_file)


def put(purpose, mode="644"):
    """Puts this host's files of one purpose; the results say whether they changed."""
    return [
        files.put(
            name=f"{purpose} {path}",
            src=f"{work['sources']}/{host.name}{path}",
            dest=path,
            user="root",
            group="root",
            mode=mode,
        )
        for path in work["files"][purpose]
    ]


def any_of(operations):
    """A condition that is asked when its operation's turn comes."""
    return lambda: any(operation.did_change() for operation in operations)


network = put("network")
server.shell(
    name="bring the interface up",
    commands=[f"/usr/sbin/ifup {work['interface']}"],
    _if=any_of(network),
)
files.line(name="selinux mode", path="/etc/selinux/config", line="^SELINUX=.*", replace="SELINUX=disabled")
systemd.service(name="firewalld", service="firewalld", running=False, enabled=False)
server.hostname(name="host name", hostname=host.name)
put("hosts")
sysctl = put("sysctl")
if sysctl:
    server.shell(
        name="load kernel settings",
        commands=["/sbin/sysctl -q -p " + " ".join(work["files"]["sysctl"])],
        _if=any_of(sysctl),
    )

repositories = put("repositories")
server.shell(name="make cache", commands=["yum -q makecache"], _if=any_of(repositories))
yum.packages(name="packages", packages=work["packages"])

nginx = put("nginx")
server.shell(name="test nginx's configuration", commands=["nginx -t"], _if=any_of(nginx))
systemd.service(name="nginx", service="nginx", running=True, enabled=True)
systemd.service(name="reload nginx", service="nginx", running=True, reloaded=True, _if=any_of(nginx))

put("scripts", "755")
keepalived = put("keepalived", "600")
server.shell(
    name="test keepalived's configuration",
    commands=["keepalived -t -f /etc/keepalived/keepalived.conf"],
    _if=any_of(keepalived),
)
units = put("units")
if units:
    systemd.daemon_reload(name="daemon-reload", _if=any_of(units))
systemd.service(name="keepalived", service="keepalived", running=True, enabled=True)
systemd.service(name="reload keepalived", service="keepalived", running=True, reloaded=True, _if=any_of(keepalived))
