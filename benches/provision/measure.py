"""Runs the tools in turn and prints what they took. Started by `run`, which says what is measured and how."""

import argparse
import contextlib
import csv
import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path

import yaml

import tools
from world import ROOT, World, say

PHASES = {
    "first": "first apply",
    "reapply": "re-apply, nothing to do",
    "change": "one line changed",
}

# What the issue of this benchmark expects of a re-apply.
FASTER_THAN = {"ansible": 20, "pyinfra": 5}
TIMES_SSH = 2


def arguments():
    parser = argparse.ArgumentParser(prog="benches/provision/run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--round-trips", default="0,50")
    parser.add_argument("--raw", type=Path, default=ROOT / "target/bench/provision/raw.json")
    parser.add_argument("--inventory", type=Path, default=ROOT / "inventory.example.yaml")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/release")
    parser.add_argument("--tools", default="ansible,hapair,pyinfra")
    args = parser.parse_args()
    args.runs = args.runs or (2 if args.quick else 5)
    args.round_trips = [float(ms) for ms in args.round_trips.split(",")]
    args.tools = args.tools.split(",")
    return args


def one_more_server(inventory):
    """The inventory with one server more in its first upstream: a change of one line of one file on each host."""
    changed = json.loads(json.dumps(inventory))
    upstream = next(iter(changed["nginx"]["upstreams"].values()))
    address, port = upstream["servers"][-1].rsplit(":", 1)
    head, last = address.rsplit(".", 1)
    upstream["servers"].append(f"{head}.{int(last) + 1}:{port}")
    return changed


def learn(world, hapair):
    """Lets hapair bootstrap fresh twins twice over and takes down what they then are: the goal of the other tools.

    Returns what every file is before and after the change of one line.
    """
    say("letting hapair show what is to be done")
    goals = {}
    world.fresh_twins()
    for name in ("base", "changed"):
        hapair.use(name)
        hapair.run()
        goals[name] = world.goal(name, hapair.rendered(name))
    return goals


def measure(world, args, goals, available, rows, delays):
    """Appends one row a measurement, and what ICMP saw of the delay."""
    for turn in range(args.runs):
        # Whoever is first in a round is another each time.
        order = available[turn % len(available) :] + available[: turn % len(available)]
        for tool in order:
            for round_trip in args.round_trips:
                say(f"run {turn + 1} of {args.runs}: {tool.name}, round trip {round_trip:g} ms")
                world.fresh_twins()
                world.set_round_trip(round_trip)
                delays.setdefault(round_trip, []).append(world.measured_round_trip())

                def timed(phase, expect):
                    row = one(world, tool, phase)
                    row |= {"run": turn + 1, "round_trip_ms": round_trip}
                    rows.append(row)
                    say(f"  {phase:8} {row['seconds']:8.3f} s  {row['changed']} changed, {row['connections']} SSH "
                        f"connections and {row['execs']} execs a host")
                    expect(row)

                tool.use("base")
                timed("first", lambda row: world.must_be(goals["base"], tool.name))
                timed("reapply", must_change_nothing)
                tool.use("changed")
                timed("change", lambda row: world.must_be(goals["changed"], tool.name))
                for yardstick in ("ssh", "ssh_both"):
                    row = {"tool": yardstick, "phase": "true", "seconds": world.ssh_true(yardstick == "ssh_both")}
                    rows.append(row | {"run": turn + 1, "round_trip_ms": round_trip})


def one(world, tool, phase):
    tool.forget()
    world.quiet()
    before = world.ssh_log()
    began = time.perf_counter()
    changed = tool.run()
    seconds = time.perf_counter() - began
    after = world.ssh_log()
    hosts = len(world.hosts)
    return {
        "tool": tool.name,
        "phase": phase,
        "seconds": round(seconds, 4),
        "load": os.getloadavg()[0],
        "changed": changed,
        "connections": (after[0] - before[0]) / hosts,
        "execs": (after[1] - before[1]) / hosts,
    }


def must_change_nothing(row):
    if row["changed"] != 0:
        raise SystemExit(f"error: the second run of {row['tool']} changed {row['changed']} things instead of none")


def grouped(rows):
    groups = {}
    for row in rows:
        groups.setdefault((row["tool"], row["phase"], row["round_trip_ms"]), []).append(row)
    return groups


def medians(rows):
    return {
        key: {
            field: statistics.median(row[field] for row in group)
            for field in ("seconds", "connections", "execs", "changed")
            if field in group[0]
        }
        for key, group in grouped(rows).items()
    }


def report(args, rows, delays, versions):
    if not rows:
        return "Nothing was measured."
    middle = medians(rows)

    def seconds(tool, phase, round_trip):
        found = middle.get((tool, phase, round_trip))
        return found["seconds"] if found else None

    def cell(value):
        return "–" if value is None else f"{value:.2f} s"

    def ratio(value, of, unit="×"):
        return "–" if value is None or of is None else f"{value / of:.1f}{unit}"

    out = []
    counts = sorted({len(group) for group in grouped(rows).values()})
    runs = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    out.append(f"Median of {runs} cold runs, both hosts; {', '.join(versions)}.\n")
    out.append("| round trip | work | hapair | Ansible | pyinfra | Ansible / hapair | pyinfra / hapair | hapair / `ssh host true` |")
    out.append("|---|---|---|---|---|---|---|---|")
    for round_trip in args.round_trips:
        yard = seconds("ssh", "true", round_trip)
        for phase, words in PHASES.items():
            h, a, p = (seconds(tool, phase, round_trip) for tool in ("hapair", "ansible", "pyinfra"))
            out.append(
                f"| {round_trip:g} ms | {words} | {cell(h)} | {cell(a)} | {cell(p)} | {ratio(a, h)} | {ratio(p, h)} "
                f"| {ratio(h, yard)} |"
            )
        both = seconds("ssh_both", "true", round_trip)
        out.append(f"| {round_trip:g} ms | `ssh host true` | {cell(yard)} (both hosts at once: {cell(both)}) | | | | | |")
    out.append("")
    low, high = min(args.round_trips), max(args.round_trips)
    out.append(f"SSH per host in a run, and round trips on the way (how the time grows with the delay) at {high:g} ms:\n")
    out.append("| work | tool | connections | execs | round trips |")
    out.append("|---|---|---|---|---|")
    for phase, words in PHASES.items():
        for tool in ("hapair", "ansible", "pyinfra"):
            found = middle.get((tool, phase, high))
            if found:
                out.append(
                    f"| {words} | {tool} | {found['connections']:g} | {found['execs']:g} "
                    f"| {round_trips(rows, tool, phase, low, high)} |"
                )
    out.append(f"| `ssh host true` | | 1 | 1 | {round_trips(rows, 'ssh', 'true', low, high)} |")
    out.append("")
    for round_trip, seen in sorted(delays.items()):
        median = statistics.median(delay["median_ms"] for delay in seen)
        worst = max(delay["p99_ms"] for delay in seen)
        out.append(f"Round trip wanted {round_trip:g} ms, seen by ICMP: median {median:.2f} ms, worst 99th percentile {worst:.2f} ms.")
    loads = [row["load"] for row in rows if "load" in row]
    if loads:
        out.append(
            f"Load average of this machine with {os.cpu_count()} cores, which runs controller and twins alike: "
            f"{min(loads):.1f} to {max(loads):.1f}."
        )
    out.append("")
    out += verdict(args, seconds)
    return "\n".join(out)


def round_trips(rows, tool, phase, low, high):
    """From the fastest runs, which other work on the machine disturbed least."""
    groups = grouped(rows)
    fastest = [
        min((row["seconds"] for row in groups.get((tool, phase, round_trip), [])), default=None)
        for round_trip in (low, high)
    ]
    if None in fastest or low == high:
        return "–"
    count = (fastest[1] - fastest[0]) / (high - low) * 1000
    return f"{count:.0f}" if count > 0 else "lost in the noise"


def verdict(args, seconds):
    lines = []
    for round_trip in args.round_trips:
        h = seconds("hapair", "reapply", round_trip)
        yard = seconds("ssh", "true", round_trip)
        if h is None or yard is None:
            continue
        for tool, factor in FASTER_THAN.items():
            other = seconds(tool, "reapply", round_trip)
            if other is not None:
                met = "met" if other / h >= factor else "MISSED"
                lines.append(f"Re-apply at {round_trip:g} ms, wanted {factor}× faster than {tool}: {other / h:.1f}×, {met}.")
        met = "met" if h / yard <= TIMES_SSH else "MISSED"
        lines.append(f"Re-apply at {round_trip:g} ms, wanted at most {TIMES_SSH}× `ssh host true`: {h / yard:.2f}×, {met}.")
    return lines


def keep_raw(path, args, rows, delays, versions):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = {"versions": versions, "runs": args.runs, "round_trips_seen": {f"{k:g}": v for k, v in delays.items()}, "rows": rows}
    path.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        fields = ["tool", "phase", "round_trip_ms", "run", "seconds", "changed", "connections", "execs", "load"]
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    say(f"raw numbers: {path} and {path.with_suffix('.csv')}")


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    inventory = yaml.safe_load(args.inventory.read_text(encoding="utf-8"))
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(World(inventory, args.binaries.resolve()))
        world.inventory("base", inventory)
        world.inventory("changed", one_more_server(inventory))
        hapair = tools.Hapair(world)
        goals = learn(world, hapair)
        available = [tools.ALL[name](world) for name in args.tools]
        versions = [tool.version() for tool in available] + [world.ssh_version()]
        rows, delays = [], {}
        try:
            measure(world, args, goals, available, rows, delays)
        except KeyboardInterrupt:
            say("interrupted: reporting what was measured so far")
    keep_raw(args.raw, args, rows, delays, versions)
    print(report(args, rows, delays, versions))


if __name__ == "__main__":
    main()
