"""The two daemons: configuration, start, faults, and what they use."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from wire import Lost, until, vip

PRIORITY = {"a": 250, "b": 249}

MODES = {
    "v2 1 s": {"lines": "advert_int 1\n authentication {\n  auth_type PASS\n  auth_pass bench123\n }", "interval": 1.0, "version": 2},
    "v3 100 ms": {"lines": "version 3\n advert_int 0.1", "interval": 0.1, "version": 3},
    "v3 10 ms": {"lines": "version 3\n advert_int 0.01", "interval": 0.01, "version": 3},
}
# Of these only the agent knows the second: keepalived has it from 2.4.2 on.
HMAC_MODE = "v3 10 ms"
HMAC_LINES = f"\n auth_hmac {{\n  key 1 hex:{'5a' * 32}\n  active_key 1\n }}"


def lines_of(mode):
    plain = mode.removesuffix(", auth_hmac")
    return MODES[plain]["lines"] + ("" if plain == mode else HMAC_LINES)


def master_down(mode, priority):
    """RFC 9568, 6.1, and for version 2 RFC 3768, 6.1: how long an owner may be silent, in seconds."""
    interval = MODES[mode]["interval"]
    unit = 1.0 if MODES[mode]["version"] == 2 else interval
    return 3 * interval + unit * (256 - priority) / 256


def configuration(name, mode, instances=1, vips_each=1, check=None, rt_priority=None, priority=None):
    """The file that both engines read. `check`: a script and its weight."""
    lines = ["global_defs {", f" router_id {name}", " script_user root"]
    if rt_priority:
        lines.append(f" vrrp_rt_priority {rt_priority}")
    lines.append("}")
    if check:
        lines += ["vrrp_script chk {", f' script "{check[0]}"', " interval 1", f" weight {check[1]}", " fall 1", " rise 1", "}"]
    for number in range(1, instances + 1):
        lines += [f"vrrp_instance V{number} {{", " state BACKUP", " interface eth0", f" virtual_router_id {number}",
                  f" priority {priority or PRIORITY[name]}", f" {lines_of(mode)}"]
        if check:
            lines.append(" track_script {\n  chk\n }")
        lines.append(" virtual_ipaddress {")
        lines += [f"  {vip(number + n)}/32" for n in range(vips_each)]
        lines += [" }", "}"]
    return "\n".join(lines) + "\n"


class Host:
    """A daemon on one of the hosts."""

    def __init__(self, world, name):
        self.name, self.namespace = name, getattr(world.wire, name)
        self.dir = world.scratch / f"{self.label}-{name}"
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        self.config = self.dir / "keepalived.conf"
        self.log = self.dir / "log"
        self.process = None
        self.agent = world.agent

    def start(self, text):
        self.config.write_text(text, encoding="utf-8")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.namespace.enter(self.command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def pids(self):
        """The daemon's processes, the first one first."""
        main = self.process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *(int(pid) for pid in children if comm(pid) == comm(main))]

    def signal_all(self, number):
        # The worker first: a parent that sees its worker die must not live to start another.
        for pid in reversed(self.pids()):
            os.kill(pid, number)

    def crash(self):
        """SIGKILL to everything, then what the service manager does."""
        self.signal_all(signal.SIGKILL)
        self.process.wait()
        self.after_crash()

    def after_crash(self):
        pass

    def terminate(self):
        os.kill(self.process.pid, signal.SIGTERM)

    def end(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal_all(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def alive(self):
        return self.process.poll() is None

    def memory(self):
        """Rss and Pss of all processes, in KiB."""
        total = {"Rss": 0, "Pss": 0}
        for pid in self.pids():
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            for key in total:
                total[key] += int(re.search(rf"^{key}: +(\d+)", text, re.M).group(1))
        return total

    def cpu(self):
        """Seconds of CPU that all threads of all processes have used, by the scheduler's count of nanoseconds."""
        used = 0
        for pid in self.pids():
            for task in Path(f"/proc/{pid}/task").iterdir():
                used += int((task / "schedstat").read_text().split()[0])
        return used * 1e-9


class Agent(Host):
    label = "agent"

    def command(self):
        return [self.agent, "run", "--config", self.config, "--state-dir", self.dir / "state"]

    def ask(self, *words):
        command = self.namespace.enter([self.agent, *words, "--state-dir", self.dir / "state"])
        return subprocess.run(command, capture_output=True, text=True).stdout

    def tell(self, *words):
        """A command that changes something; what the agent says if it refuses."""
        command = self.namespace.enter([self.agent, *words, "--state-dir", self.dir / "state"])
        done = subprocess.run(command, capture_output=True, text=True)
        return None if done.returncode == 0 else (done.stderr or done.stdout).strip()

    def states(self):
        try:
            return [i["state"] for i in json.loads(self.ask("status", "--json"))["instances"]]
        except ValueError:
            return []

    def is_standby(self):
        states = self.states()
        return bool(states) and all(state == "BACKUP" for state in states)

    def after_crash(self):
        """The unit's ExecStopPost."""
        subprocess.run(
            self.namespace.enter([self.agent, "release", "--config", self.config, "--state-dir", self.dir / "state"]),
            stdout=subprocess.DEVNULL,
            check=True,
        )


class Keepalived(Host):
    label = "keepalived"

    def command(self):
        # -l with -G: nothing goes to syslog. Where there is no /dev/log, libc would write to the console instead, which
        # alone costs seconds with 255 instances.
        return ["keepalived", "-n", "-l", "-G", "-P", "-f", self.config, "-p", self.dir / "pid", "-r", self.dir / "vrrp.pid"]

    def is_standby(self):
        text = self.log.read_text(encoding="utf-8", errors="replace")
        wanted = self.config.read_text(encoding="utf-8").count("vrrp_instance ")
        return text.count("Entering BACKUP STATE") >= wanted


ALL = {"agent": Agent, "keepalived": Keepalived}


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return None


class Pair:
    """One engine on both hosts, `a` the owner of everything."""

    def __init__(self, world, engine, mode, capture, **settings):
        self.world, self.mode = world, mode
        self.a, self.b = ALL[engine](world, "a"), ALL[engine](world, "b")
        self.settings = settings
        self.vips = max(settings.get("instances", 1), settings.get("vips_each", 1))
        self.capture = capture

    def __enter__(self):
        return self

    def start_owner(self):
        self.a.start(configuration("a", self.mode, **self.settings))
        until("the owner has every VIP", lambda: self.world.wire.vips("a") == self.vips)

    def start_standby(self):
        # Only the owner is checked.
        self.b.start(configuration("b", self.mode, **(self.settings | {"check": None})))
        until("the standby waits", self.b.is_standby)
        # It must have heard every owner.
        self.capture.drain()
        heard = 0
        while heard < 3:
            seen = self.capture.read(30)
            if seen is None:
                raise Lost("the owner sent nothing")
            heard += seen.kind == "advert" and not seen.outgoing
        if self.world.wire.vips("b"):
            raise Lost("the standby had taken over before the event")

    def __exit__(self, *_):
        self.a.end()
        self.b.end()
        self.world.wire.clear()


def versions(agent):
    first = subprocess.run(["keepalived", "--version"], capture_output=True, text=True).stderr.split("\n")[0]
    return [
        f"hapair-agent ({Path(agent).stat().st_size / 2**20:.2f} MiB)",
        re.sub(r"^Keepalived v?([\d.]+).*", r"keepalived \1", first),
        f"Linux {os.uname().release}",
    ]
