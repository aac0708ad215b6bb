"""Where the tools run: twin hosts, a network namespace far from them, and the relay between."""

import difflib
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# Of RFC 2544's block for benchmarks, which nothing else uses.
FAR_ADDRESS, NEAR_ADDRESS = "198.18.0.2", "198.18.0.1"

# Where whatever hapair's bootstrap writes goes, by purpose. The roles and operations of the other tools go by purpose.
PURPOSES = {
    "network": "/etc/sysconfig/network",
    "hosts": "/etc/hosts",
    "sysctl": "/etc/sysctl.d/",
    "repositories": "/etc/yum.repos.d/",
    "nginx": "/etc/nginx/",
    "scripts": "/usr/libexec/keepalived/",
    "keepalived": "/etc/keepalived/",
    "units": "/etc/systemd/system/",
}

UNITS = ("nginx", "keepalived", "firewalld")


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, env=None, check=True, input=None):
    """Runs a command to its end and returns its standard output and error in one."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(env or {})},
        input=input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL if input is None else None,
        text=True,
        errors="replace",
    )
    if check and done.returncode != 0:
        words = shlex.join(str(word) for word in command)
        last = "\n".join(line[:400] for line in done.stdout.splitlines()[-30:])
        raise SystemExit(f"error: `{words}` ended with {done.returncode}:\n{last}")
    return done.stdout


class World:
    """Twins of the inventory's hosts, and everything around them. Its end leaves nothing behind."""

    def __init__(self, inventory, binaries):
        self.hapair = binaries / "hapair"
        self.relay_binary = binaries / "examples/relay"
        # A name of its own: another lab of the same inventory may be running.
        self.name = f"bench{os.getpid()}"
        self.far_space = f"hp-{self.name}-far"
        self.near_space = f"hp-{self.name}-ctl"
        state = Path("/run/hapair/lab") / self.name
        self.key = state / "id_ed25519"
        self.known_hosts = state / "known_hosts"
        self.hosts = {host["name"]: address_of(host) for host in inventory["hosts"]}
        self.interface = inventory["hosts"][0]["network"]["interface"]
        self.relay = None
        self.round_trip = 0.0

    def __enter__(self):
        self.scratch = Path(tempfile.mkdtemp(prefix="hapair-bench-"))
        (self.scratch / "home").mkdir()
        run(["ip", "netns", "add", self.far_space])
        run(["ip", "-n", self.far_space, "link", "set", "lo", "up"])
        return self

    def __exit__(self, *_):
        self.stop_relay()
        if (self.scratch / "base.yaml").exists():
            out = run([self.hapair, "-i", self.scratch / "base.yaml", "lab", "down"], check=False)
            if self.key.exists():
                say(out)
        run(["ip", "netns", "del", self.far_space], check=False)
        shutil.rmtree(self.scratch, ignore_errors=True)

    # Inventories and what the tools are told.

    def inventory(self, name, inventory):
        """Writes an inventory of that name for hapair, with the lab's key and known hosts."""
        inventory = json.loads(json.dumps(inventory))
        inventory["name"] = self.name
        inventory["ssh"] = {"user": "root", "identity_file": str(self.key), "known_hosts": str(self.known_hosts)}
        inventory["vrrp"]["engine"] = "keepalived"
        self.inventory_path(name).write_text(yaml.safe_dump(inventory, sort_keys=False), encoding="utf-8")

    def inventory_path(self, name):
        return self.scratch / f"{name}.yaml"

    def settings_path(self):
        path = self.scratch / "settings.json"
        if not path.exists():
            hosts = [{"name": name, "address": address} for name, address in self.hosts.items()]
            settings = {"hosts": hosts, "identity_file": str(self.key), "known_hosts": str(self.known_hosts)}
            path.write_text(json.dumps(settings), encoding="utf-8")
        return path

    def work_path(self, goal):
        return self.scratch / f"work-{goal}.json"

    # Twins.

    def fresh_twins(self):
        """Boots both twins from the image, whatever they were before."""
        self.stop_relay()
        # With the changed inventory, so that the server that is added later is there too.
        which = "changed" if self.inventory_path("changed").exists() else "base"
        lab = [self.hapair, "-i", self.inventory_path(which), "--yes", "--no-progress", "lab"]
        run([*lab, "down"])
        run([*lab, "up"])
        self.start_relay()
        for host in self.hosts:
            # Each session and each connection in the log, to be counted; the same for all tools.
            script = "echo 'LogLevel VERBOSE' >>/etc/ssh/sshd_config && systemctl reload sshd"
            self.inside(host, ["sh", "-c", script])
        for host in self.hosts:
            self.wait_for_ssh(host)

    def inside(self, host, command):
        """Runs a command on a twin without SSH."""
        return run([self.hapair, "-i", self.inventory_path("base"), "lab", "exec", host, "--", *command])

    def wait_for_ssh(self, host):
        deadline = time.monotonic() + 60
        while subprocess.run(self.ssh(host), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            if time.monotonic() > deadline:
                raise SystemExit(f"error: {host} does not answer SSH through the relay")
            time.sleep(0.1)

    def quiet(self):
        """Waits until the twins are done with what the run before set off: their boot, a reload, an election."""
        for host in self.hosts:
            self.inside(host, ["sh", "-c", "systemctl is-system-running --wait >/dev/null 2>&1; true"])

    def ssh_log(self):
        """Connections and sessions that the twins' sshd has logged since boot, all hosts together."""
        connections = sessions = 0
        for host in self.hosts:
            log = self.inside(host, ["journalctl", "-q", "-o", "cat", "-t", "sshd", "--no-pager"])
            connections += log.count("Accepted publickey ")
            sessions += log.count("Starting session:")
        return connections, sessions

    # What hapair makes of the twins, as the goal of the others.

    def goal(self, name, paths):
        """Takes down the twins' state for these files, and writes what the other tools need to bring it about."""
        sources = self.scratch / f"sources-{name}"
        for host, files in paths.items():
            for path in files:
                copy = sources / f"{host}{path}"
                copy.parent.mkdir(parents=True, exist_ok=True)
                # Every twin has a UUID of its own in its profile, which hapair keeps.
                text = re.sub(r"(?m)^UUID=.*\n", "", self.inside(host, ["cat", path]))
                copy.write_text(text, encoding="utf-8")
        everything = sorted(set().union(*paths.values()))
        files = {purpose: [] for purpose in PURPOSES}
        for path in everything:
            purpose = next((p for p, prefix in PURPOSES.items() if path.startswith(prefix)), None)
            if purpose is None:
                raise SystemExit(f"error: the other tools have no task for {path}")
            files[purpose].append(path)
        work = {
            "sources": str(sources),
            "files": files,
            "interface": self.interface,
            "packages": ["nginx", "keepalived"],
        }
        self.work_path(name).write_text(json.dumps(work), encoding="utf-8")
        self.paths = paths
        return self.state()

    def state(self):
        """What must be the same whichever tool did the work."""
        units = " ".join(UNITS)
        return {
            host: self.inside(
                host,
                [
                    "sh",
                    "-c",
                    f"for f in {shlex.join(paths)}; do echo $f; grep -v ^UUID= $f | sha256sum; done; stat -c '%n %a %U:%G' {shlex.join(paths)}; "
                    f"grep ^SELINUX= /etc/selinux/config; cat /etc/hostname; hostname; "
                    f"systemctl is-enabled {units}; systemctl is-active {units}; rpm -q nginx keepalived; "
                    "cat /proc/sys/net/ipv4/ip_nonlocal_bind; nginx -T 2>/dev/null | sha256sum",
                ],
            )
            for host, paths in self.paths.items()
        }

    def must_be(self, goal, tool):
        state = self.state()
        for host, wanted in goal.items():
            difference = difflib.unified_diff(wanted.splitlines(), state[host].splitlines(), "wanted", tool, lineterm="")
            text = "\n".join(difference)
            if text:
                raise SystemExit(f"error: {tool} made something else of {host} than hapair did before:\n{text}")

    # The way there.

    def start_relay(self):
        spaces = (f"/run/netns/{self.far_space}", "far0", f"/run/netns/{self.near_space}", "far0")
        self.relay = subprocess.Popen(
            [self.relay_binary, *spaces, str(self.round_trip)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.relay_says("ready")
        for space, address in ((self.far_space, FAR_ADDRESS), (self.near_space, NEAR_ADDRESS)):
            run(["ip", "-n", space, "address", "add", f"{address}/30", "dev", "far0"])
            run(["ip", "-n", space, "link", "set", "far0", "up"])
        run(["ip", "-n", self.far_space, "route", "replace", "default", "via", NEAR_ADDRESS])
        run(["nsenter", f"--net=/run/netns/{self.near_space}", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])

    def relay_says(self, wanted):
        if not select.select([self.relay.stdout], [], [], 10)[0]:
            raise SystemExit("error: the relay is silent")
        line = self.relay.stdout.readline().strip()
        if line != wanted:
            raise SystemExit(f"error: the relay says `{line}` instead of `{wanted}`")

    def set_round_trip(self, ms):
        self.round_trip = ms
        self.relay.stdin.write(f"{ms}\n")
        self.relay.stdin.flush()
        self.relay_says(f"delay {ms}")

    def stop_relay(self):
        if self.relay:
            self.relay.stdin.close()
            self.relay.wait(10)
            self.relay = None

    def measured_round_trip(self):
        address = next(iter(self.hosts.values()))
        space = f"--net=/run/netns/{self.far_space}"
        return json.loads(run(["nsenter", space, sys.executable, HERE / "rtt.py", address, "100"]))

    # From over there.

    def far(self, command, env=None):
        """Runs a command in the far namespace, with a home directory that holds nothing."""
        env = {"HOME": str(self.scratch / "home"), "SSH_AUTH_SOCK": "", **(env or {})}
        return run(["nsenter", f"--net=/run/netns/{self.far_space}", *command], env)

    def ssh(self, host):
        options = f"-F none -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile={self.known_hosts} -i {self.key}"
        space = f"--net=/run/netns/{self.far_space}"
        return ["nsenter", space, "ssh", *options.split(), f"root@{self.hosts[host]}", "true"]

    def ssh_true(self, both):
        """Seconds that `ssh HOST true` takes, on one host or on both at once."""
        began = time.perf_counter()
        started = [subprocess.Popen(self.ssh(host)) for host in list(self.hosts)[: 2 if both else 1]]
        codes = [process.wait() for process in started]
        seconds = time.perf_counter() - began
        if any(codes):
            raise SystemExit("error: `ssh HOST true` failed")
        return round(seconds, 4)

    def ssh_version(self):
        return run(["ssh", "-V"]).split(",")[0].strip()


def address_of(host):
    return host.get("address") or host["network"]["address"].split("/")[0]
