"""Runs the engines in turn and prints what they took. Started by `run`, which says what is measured and how."""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from engines import ALL, HMAC_MODE, MODES, PRIORITY, Pair, master_down, versions
from churn import churn
from flapping import flapping
from planned import planned
from wire import Capture, Lost, Wire, say, until

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["failover", "many", "cpu", "contention", "hmac", "flapping", "planned"]
# Only when it is asked for: an hour.
LONG = ["churn"]
EVENTS = ["killed", "stopped", "check, weight -5", "check, weight 0", "silent"]
SIZES = [1, 100, 255]
BUSY_LOOPS = 8


def arguments():
    parser = argparse.ArgumentParser(prog="benches/vrrp/run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--raw", type=Path, default=ROOT / "target/bench/vrrp/raw.json")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--events", default=";".join(EVENTS))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--agent", type=Path, required=True)
    args = parser.parse_args()
    args.runs = args.runs or (5 if args.quick else 20)
    args.window = 8 if args.quick else 20
    args.contention = 20 if args.quick else 60
    args.flapping = 40
    args.planned = 20
    args.only = args.only.split(",")
    args.modes = args.modes.split(",")
    args.events = args.events.split(";")
    args.sizes = [int(size) for size in args.sizes.split(",")]
    unknown = set(args.only) - set(PARTS + LONG) | set(args.modes) - set(MODES) | set(args.events) - set(EVENTS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    args.agent = args.agent.resolve()
    return args


class World:
    """Where everything happens."""

    def __init__(self, agent, stack):
        self.agent = agent
        self.scratch = Path(tempfile.mkdtemp(prefix="vrrp-bench-"))
        stack.callback(shutil.rmtree, self.scratch, ignore_errors=True)
        self.wire = Wire()
        stack.callback(self.wire.close)

    def capture(self):
        return contextlib.closing(Capture(self.wire.b))


def turns(run):
    """Whoever is first is another each time."""
    names = list(ALL)
    return names[run % 2 :] + names[: run % 2]


def failover(world, args, rows):
    for mode in args.modes:
        for event in args.events:
            # Silent death is compared with a formula to fractions of a millisecond: it has twice the runs.
            for run in range(args.runs if event == "silent" else max(args.runs // 2, 3)):
                for engine in turns(run):
                    row = {"part": "failover", "engine": engine, "mode": mode, "event": event, "run": run}
                    rows.append(row | guarded(one_failover, world, engine, mode, event) | load())
            found = {e: report.of(rows, part="failover", event=event, mode=mode, engine=e) for e in ALL}
            medians = (f"{e} {statistics.median(r['ms'] for r in v):.1f} ms" if v else f"{e} never" for e, v in found.items())
            say(f"{mode}, {event}: " + ", ".join(medians))


def guarded(measure, *arguments):
    """What is measured, or why this run is left out."""
    try:
        return measure(*arguments)
    except Lost as lost:
        say(f"a run is left out: {lost}")
        return {"void": str(lost)}


def one_failover(world, engine, mode, event):
    """Time from the event to the standby's first gratuitous ARP."""
    settings = {}
    if event.startswith("check"):
        flag, failed, script = (world.scratch / name for name in ("flag", "failed", "check"))
        flag.touch()
        failed.unlink(missing_ok=True)
        # It says itself when it failed: how long it was waited for is the same for both engines and nobody's merit.
        script.write_text(f"#!/bin/sh\n[ -e {flag} ] && exit 0\n[ -e {failed} ] || date +%s.%N >{failed}\nexit 1\n")
        script.chmod(0o755)
        settings["check"] = (script, int(event.rsplit(" ", 1)[1]))
    with world.capture() as capture, Pair(world, engine, mode, capture, **settings) as pair:
        pair.start_owner()
        pair.start_standby()
        # Anywhere between two adverts, and at least one heard.
        time.sleep(MODES[mode]["interval"] * random.uniform(1, 2))
        began = time.time()
        match event:
            case "killed":
                pair.a.crash()
            case "stopped":
                pair.a.terminate()
            case "silent":
                pair.a.signal_all(signal.SIGSTOP)
            case _:
                flag.unlink()
        garp, advert = first_garp(capture, event)
        if event.startswith("check"):
            # Under load the peer may be faster than the check: it has missed three adverts, and the event is another one.
            written = failed.read_text().strip() if failed.exists() else ""
            if not written or garp < float(written):
                raise Lost("the standby had taken over before the check failed")
            began = float(written)
        row = {"ms": (garp - began) * 1000}
        if advert:
            row["after_advert_ms"] = (garp - advert) * 1000
            row["formula_ms"] = master_down(mode, PRIORITY["b"]) * 1000
        if event == "stopped":
            pair.a.process.wait()
        return row


def first_garp(capture, event):
    """When the standby told the neighbours, and when the owner's last advert was heard before it."""
    advert = None
    while seen := capture.read(30):
        if seen.kind == "garp" and seen.outgoing:
            return seen.at, advert
        if seen.kind == "advert" and not seen.outgoing and event == "silent":
            advert = seen.at
    raise Lost("nobody took over within 30 s")


def many(world, args, rows):
    """255 VIPs at a graceful stop: as 255 instances, and as one instance."""
    for run in range(max(5, args.runs // 2)):
        for engine in turns(run):
            for shape, settings in {"255 instances": {"instances": 255}, "1 instance": {"vips_each": 255}}.items():
                row = {"part": "many", "engine": engine, "shape": shape, "run": run} | guarded(one_stop, world, engine, settings)
                rows.append(row | load())
                if "void" not in row:
                    say(f"255 VIPs, {shape}, {engine}: first {row['first_ms']:.1f} ms, last {row['last_ms']:.1f} ms")


def one_stop(world, engine, settings):
    with world.capture() as capture, Pair(world, engine, "v2 1 s", capture, **settings) as pair:
        pair.start_owner()
        pair.start_standby()
        # The second round of announcements after the takeover at the start must be over.
        time.sleep(6)
        capture.drain()
        began = time.time()
        pair.a.terminate()
        firsts = {}
        while len(firsts) < 255:
            seen = capture.read(30)
            if seen is None:
                raise Lost(f"only {len(firsts)} of 255 VIPs moved")
            if seen.kind == "garp" and seen.outgoing:
                firsts.setdefault(seen.vip, seen.at)
        first, last = min(firsts.values()), max(firsts.values())
        pair.a.process.wait()
        return {"first_ms": (first - began) * 1000, "last_ms": (last - began) * 1000, "spread_ms": (last - first) * 1000}


def cpu(world, args, rows):
    """Memory of one host, CPU of both, and the gaps between the adverts of one instance."""
    for mode in args.modes:
        for size in args.sizes:
            for engine in ALL:
                row = {"part": "cpu", "engine": engine, "mode": mode, "instances": size}
                row |= guarded(one_use, world, args, engine, mode, size)
                rows.append(row | load())
                say_use(row)


def hmac(world, args, rows):
    """What `auth_hmac` costs the agent, where adverts are most: 255 instances, 10 ms."""
    for mode in (HMAC_MODE, HMAC_MODE + ", auth_hmac"):
        for run in range(3):
            row = {"part": "hmac", "engine": "agent", "mode": mode, "instances": 255, "run": run}
            row |= guarded(one_use, world, args, "agent", mode, 255)
            rows.append(row | load())
            say_use(row)


def say_use(row):
    if "void" not in row:
        say(f"{row['mode']}, {row['instances']} instances, {row['engine']}: owner {row['owner_percent']:.2f} %, standby "
            f"{row['standby_percent']:.2f} %, Rss {row['rss_kib']} KiB, Pss {row['pss_kib']} KiB")


def one_use(world, args, engine, mode, size):
    with world.capture() as capture, Pair(world, engine, mode, capture, instances=size) as pair:
        pair.start_owner()
        if mode.endswith("auth_hmac") and not authenticated(capture):
            raise Lost("this agent sends no auth_hmac")
        time.sleep(1)
        # Before the other host runs: its copy of the same pages would halve the share.
        memory = pair.a.memory()
        pair.start_standby()
        time.sleep(1)
        capture.drain()
        before, began = (pair.a.cpu(), pair.b.cpu()), time.monotonic()
        time.sleep(args.window)
        used = [after - b for after, b in zip((pair.a.cpu(), pair.b.cpu()), before)]
        seconds = time.monotonic() - began
        stamps = [s.at for s in capture.drain() if s.kind == "advert" and not s.outgoing]
        if world.wire.vips("b") or world.wire.vips("a") != size:
            say(f"note: {engine} with {size} instances at {mode} did not stay as it was")
        return {"owner_percent": used[0] / seconds * 100, "standby_percent": used[1] / seconds * 100, "rss_kib": memory["Rss"],
                "pss_kib": memory["Pss"], "gaps_ms": [(y - x) * 1000 for x, y in zip(stamps, stamps[1:])]}


def authenticated(capture):
    """Whether adverts carry a trailer: a header, one address and nothing more are 12 bytes."""
    seen = capture.read(10)
    while seen and seen.kind != "advert":
        seen = capture.read(10)
    return seen is not None and seen.length > 12


def contention(world, args, rows):
    """VIPs that move although nobody failed, with busy loops on every core and real-time priority for both engines."""
    for size in SIZES[:2]:
        for engine in ALL:
            row = {"part": "contention", "engine": engine, "instances": size, "seconds": args.contention}
            row |= guarded(one_contention, world, args, engine, size)
            rows.append(row)
            if "void" not in row:
                say(f"{BUSY_LOOPS} busy loops, {size} instances, {engine}: {row['moves']} VIPs taken over in {args.contention} s")


def one_contention(world, args, engine, size):
    with world.capture() as capture, Pair(world, engine, "v3 10 ms", capture, instances=size, rt_priority=50) as pair:
        pair.start_owner()
        pair.start_standby()
        time.sleep(1)
        monitors = [monitor(world, name) for name in ("a", "b")]
        loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(BUSY_LOOPS)]
        try:
            time.sleep(args.contention)
        finally:
            for process in loops + [m[0] for m in monitors]:
                process.kill()
                process.wait()
        # Each move is an address that comes, on either host.
        moves = sum(path.read_text().count("10.78.1.") - path.read_text().count("Deleted") for _, path in monitors)
        return {"moves": moves, "alive": pair.a.alive() and pair.b.alive()}


def monitor(world, name):
    path = world.scratch / f"monitor-{name}"
    with path.open("wb") as file:
        process = subprocess.Popen(getattr(world.wire, name).enter(["ip", "-o", "-4", "monitor", "address"]), stdout=file)
    # It listens once its netlink socket is there.
    until("ip monitor", lambda: netlink_socket(process.pid))
    return process, path


def netlink_socket(pid):
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:") for fd in os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return False


def load():
    return {"load": os.getloadavg()[0]}


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows = []
    with contextlib.ExitStack() as stack:
        world = World(args.agent, stack)
        parts = {part.__name__: part for part in (failover, many, cpu, contention, hmac, flapping, planned, churn)}
        try:
            for part in args.only:
                parts[part](world, args, rows)
        except KeyboardInterrupt:
            say("interrupted: reporting what was measured so far")
        except Lost as lost:
            # A whole part that could not even begin.
            say(f"error: {lost}; reporting what was measured so far")
    args.raw.parent.mkdir(parents=True, exist_ok=True)
    about = versions(args.agent)
    args.raw.write_text(json.dumps({"versions": about, "rows": rows}) + "\n", encoding="utf-8")
    say(f"raw numbers: {args.raw}")
    print(report.tables(rows, about))


if __name__ == "__main__":
    main()
