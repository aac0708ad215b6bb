"""Churn: everything that happens to a pair of agents in months, in an hour. Prints memory, descriptors and the worst timer lag."""

import json
import os
import random
import re
import socket
import statistics
import struct
import time
from pathlib import Path

from engines import Agent
from wire import ADDRESS, enter_namespace, say, until

INSTANCES = 20
PRIORITY = {"a": 200, "b": 190}
# Between two things that happen, on average.
PAUSE = 2.0
# Packets a second, and for how long.
FLOOD = (2000, 0.5)
SAMPLE_EVERY = 30
# Until caches, pools and pages that are touched once have their size.
WARM_UP_SHARE = 0.1
# What is called flat: medians of the first and of the last third after the warm-up.
MEMORY_SLACK_KIB = 256


def configuration(name, flag, rng):
    """The file of a host; each call another one, out of a few."""
    lines = ["global_defs {", " script_user root", "}", "vrrp_script chk {", f' script "/usr/bin/test -e {flag}"', " interval 1",
             " weight -30", " fall 1", " rise 1", "}"]
    for number in range(1, INSTANCES + 1):
        # Some instances come and go, some have another address or priority now and then.
        if number > INSTANCES - 5 and rng.random() < 0.3:
            continue
        priority = PRIORITY[name] + (rng.choice([0, 0, 3]) if number % 4 == 0 else 0)
        lines += [f"vrrp_instance V{number} {{", " interface eth0", f" virtual_router_id {number}", f" priority {priority}",
                  " version 3", " advert_int 0.1", " garp_master_repeat 2", " garp_master_delay 1", " track_script {", "  chk", " }",
                  " virtual_ipaddress {", f"  10.78.1.{number}/32"]
        if number % 5 == 0 and rng.random() < 0.5:
            lines.append(f"  10.78.2.{number}/32")
        lines += [" }", "}"]
    return "\n".join(lines) + "\n"


class Stranger:
    """Sends packets of all kinds into the bridge."""

    def __init__(self, namespace):
        back, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(namespace.path, os.O_RDONLY)
        try:
            enter_namespace(there)
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        finally:
            enter_namespace(back)
            os.close(there)
            os.close(back)
        self.socket.bind(("br0", 0))

    def flood(self, rng, kind):
        rate, seconds = FLOOD
        frames = [self.frame(rng, kind) for _ in range(32)]
        end = time.monotonic() + seconds
        sent = 0
        while time.monotonic() < end:
            for _ in range(rate // 100):
                self.socket.send(frames[sent % len(frames)])
                sent += 1
            time.sleep(0.01)
        return sent

    def frame(self, rng, kind):
        vrid, priority, ttl, vip, body = rng.randint(1, INSTANCES), rng.choice([1, 100, 254]), 255, None, None
        source = f"10.78.0.{rng.randint(3, 250)}"
        match kind:
            case "lower":
                priority = 1
            case "foreign list":
                vip = f"10.79.0.{vrid}"
            case "foreign router":
                vrid = rng.randint(INSTANCES + 1, 255)
            case "ttl":
                ttl = 64
            case "noise":
                body = rng.randbytes(rng.randint(0, 60))
            case "checksum":
                body = message(vrid, priority, vip or f"10.78.1.{vrid}", source, spoil=1)
        body = body if body is not None else message(vrid, priority, vip or f"10.78.1.{vrid}", source)
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0xC0, 20 + len(body), 1, 0, ttl, 112, 0, socket.inet_aton(source),
                             socket.inet_aton("224.0.0.18"))
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        return bytes.fromhex("01005e000012") + bytes.fromhex("020000000099") + b"\x08\x00" + header + body

    def close(self):
        self.socket.close()


KINDS = ["lower", "foreign list", "foreign router", "ttl", "noise", "checksum"]


def message(vrid, priority, vip, source, spoil=0):
    body = struct.pack("!BBBBHH4s", 0x31, vrid, priority, 1, 10, 0, socket.inet_aton(vip))
    pseudo = socket.inet_aton(source) + socket.inet_aton("224.0.0.18") + struct.pack("!BBH", 0, 112, len(body))
    return body[:6] + struct.pack("!H", checksum(pseudo + body) ^ spoil) + body[8:]


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Churn:
    def __init__(self, world, seed):
        self.world, self.rng = world, random.Random(seed)
        self.hosts = {name: Agent(world, name) for name in ("a", "b")}
        self.flags = {name: world.scratch / f"good-{name}" for name in self.hosts}
        self.stranger = Stranger(world.wire.middle)
        self.done = {}

    def start(self):
        for name, host in self.hosts.items():
            self.flags[name].touch()
            host.start(configuration(name, self.flags[name], self.rng))
        until("somebody owns VIPs", lambda: self.world.wire.vips("a") + self.world.wire.vips("b") > 0)

    def close(self):
        self.stranger.close()
        for host in self.hosts.values():
            host.end()
        self.world.wire.clear()

    def one(self):
        """One thing that happens, on one of the hosts."""
        name = self.rng.choice("ab")
        host = self.hosts[name]
        what = self.rng.choices(list(EVENTS), weights=[w for w, _ in EVENTS.values()])[0]
        EVENTS[what][1](self, name, host)
        self.done[what] = self.done.get(what, 0) + 1

    def reload(self, name, host):
        host.config.write_text(configuration(name, self.flags[name], self.rng), encoding="utf-8")
        host.ask("reload")

    def broken_reload(self, name, host):
        good = host.config.read_text(encoding="utf-8")
        host.config.write_text(good[: len(good) // 2], encoding="utf-8")
        host.ask("reload")
        host.config.write_text(good, encoding="utf-8")

    def link(self, name, _):
        self.world.wire.middle.ip(f"link set dev {name} down")
        time.sleep(self.rng.uniform(0.05, 1.5))
        self.world.wire.middle.ip(f"link set dev {name} up")

    def address(self, name, host):
        lines = host.namespace.ip("-o -4 addr show dev eth0").splitlines()
        vips = [line.split()[3] for line in lines if line.split()[3].startswith("10.78.1.")]
        for address in self.rng.sample(vips, min(3, len(vips))):
            # The agent may have taken it off itself meanwhile.
            try:
                host.namespace.ip(f"addr del {address} dev eth0")
            except SystemExit:
                pass

    def own_address(self, name, host):
        host.namespace.ip(f"addr del {ADDRESS[name]}/16 dev eth0")
        time.sleep(self.rng.uniform(0.05, 0.5))
        host.namespace.ip(f"addr add {ADDRESS[name]}/16 dev eth0")

    def flood(self, *_):
        self.stranger.flood(self.rng, self.rng.choice(KINDS))

    def command(self, name, host):
        host.ask(*self.rng.choice([("status",), ("status", "--json"), ("metrics",), ("hold", "1"), ("handover", "2"), ("resume",),
                                   ("takeover", "1"), ("takeover", "1", "V1"), ("handover", "1", "V2")]))

    def check(self, name, _):
        self.flags[name].unlink(missing_ok=True)
        time.sleep(self.rng.uniform(0.5, 2.5))
        self.flags[name].touch()


EVENTS = {
    "reload": (3, Churn.reload),
    "broken reload": (1, Churn.broken_reload),
    "link": (3, Churn.link),
    "VIP removed": (2, Churn.address),
    "own address removed": (1, Churn.own_address),
    "flood": (3, Churn.flood),
    "command": (6, Churn.command),
    "check": (2, Churn.check),
}


def sample(host):
    pid = host.process.pid
    status = Path(f"/proc/{pid}/status").read_text()
    try:
        lag = json.loads(host.ask("status", "--json"))["worst_timer_lag_seconds"]
    except (ValueError, KeyError):
        lag = None
    return host.memory() | {
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(re.search(r"^Threads:\s+(\d+)", status, re.M).group(1)),
        "children": len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()),
        "lag_ms": None if lag is None else lag * 1000,
    }


def churn(world, args, rows):
    run = Churn(world, args.seed)
    try:
        run.start()
        began = time.monotonic()
        due = began
        while (now := time.monotonic()) < began + args.minutes * 60:
            if now >= due:
                due = now + SAMPLE_EVERY
                for name, host in run.hosts.items():
                    if not host.alive():
                        raise SystemExit(f"error: the agent of {name} has ended; its log: {host.log.read_text()[-2000:]}")
                    row = {"part": "churn", "host": name, "minute": (now - began) / 60} | sample(host)
                    row |= {"load": os.getloadavg()[0], "events": sum(run.done.values())}
                    rows.append(row)
                    lag = "–" if row["lag_ms"] is None else f"{row['lag_ms']:.1f} ms"
                    say(f"minute {row['minute']:5.1f}, {name}: Rss {row['Rss']} KiB, {row['descriptors']} descriptors, {row['threads']} "
                        f"threads, worst timer lag {lag}, {row['events']} events, load {row['load']:.1f}")
            run.one()
            time.sleep(run.rng.expovariate(1 / PAUSE))
        rows.append({"part": "churn", "host": "", "done": run.done})
    finally:
        run.close()


def table(rows):
    """Medians of thirds after the warm-up, and whether they are flat."""
    found = [row for row in rows if row["part"] == "churn" and row["host"]]
    if not found:
        return []
    minutes = max(row["minute"] for row in found)
    events = max(row["events"] for row in found)
    out = [f"Churn of {minutes:.0f} minutes: {events} events on a pair of agents with {INSTANCES} instances, 100 ms adverts. Medians of the "
           f"thirds after the first {minutes * WARM_UP_SHARE:.0f} minutes.", "",
           "| host | Rss, KiB | descriptors | threads | worst timer lag, ms | flat |", "|---|---|---|---|---|---|"]
    for name in ("a", "b"):
        mine = [row for row in found if row["host"] == name and row["minute"] >= minutes * WARM_UP_SHARE]
        if len(mine) < 3:
            continue
        third = len(mine) // 3
        parts = [mine[:third], mine[third : 2 * third], mine[2 * third :]]
        middle = {key: [statistics.median(row[key] for row in part) for part in parts] for key in ("Rss", "descriptors", "threads")}
        flat = middle["Rss"][2] <= middle["Rss"][0] + MEMORY_SLACK_KIB and middle["descriptors"][2] <= middle["descriptors"][0]
        lag = max((row["lag_ms"] for row in mine if row["lag_ms"] is not None), default=None)
        cells = [" / ".join(f"{value:.0f}" for value in middle[key]) for key in ("Rss", "descriptors", "threads")]
        out.append(f"| {name} | {' | '.join(cells)} | {'–' if lag is None else f'{lag:.1f}'} | {'yes' if flat else 'NO'} |")
    done = next((row["done"] for row in rows if row["part"] == "churn" and "done" in row), {})
    if done:
        out += ["", "Events: " + ", ".join(f"{count} {what}" for what, count in sorted(done.items())) + "."]
    return out + [""]
