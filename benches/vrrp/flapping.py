"""A pair whose preferred host keeps coming and going: how long nobody owns the VIP, and how often the owner changes."""

import threading
import time

from addresses import Addresses, watch
from engines import ALL, configuration
from wire import Lost, Wire, say, until

MODE = "v2 1 s"
SECONDS = {"quick": 40, "whole": 40}
PAIRS = {
    "agent pair": ("agent", "agent"),
    "agent preferred, keepalived": ("agent", "keepalived"),
    "keepalived preferred, agent": ("keepalived", "agent"),
    "keepalived pair": ("keepalived", "keepalived"),
}
# Seconds down and up; `None`: the check is bad and good in turn.
SHAPES = {
    "link 0.5 s down, 2.5 s up": (0.5, 2.5),
    "link 1 s down, 1 s up": (1.0, 1.0),
    "check bad and good in turn": None,
}


class Place:
    """What a host needs to be started: a wire of its own, so that the pairs run side by side."""

    def __init__(self, world, number):
        self.agent, self.scratch, self.wire = world.agent, world.scratch / f"flap-{number}", Wire()
        self.scratch.mkdir()


def flapping(world, args, rows):
    for shape, times in SHAPES.items():
        found, threads = {}, []
        for number, (pair, engines) in enumerate(PAIRS.items()):
            place = Place(world, f"{len(rows)}-{number}")
            thread = threading.Thread(target=one, args=(place, engines, times, args.flapping, found, pair))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        for pair in PAIRS:
            row = {"part": "flapping", "shape": shape, "pair": pair, "seconds": args.flapping} | found[pair]
            rows.append(row)
            say(f"{shape}, {pair}: " + (f"left out, {row['void']}" if "void" in row else
                f"{row['without_percent']:.1f} % without owner, {row['changes']} changes, {row['two_percent']:.1f} % with two owners"))


def one(place, engines, times, seconds, found, pair):
    try:
        found[pair] = flap(place, engines, times, seconds)
    except Lost as lost:
        found[pair] = {"void": str(lost)}
    finally:
        place.wire.close()


def flap(place, engines, times, seconds):
    check = None
    if times is None:
        script, flag = place.scratch / "turn", place.scratch / "bad"
        script.write_text(f"#!/bin/sh\n[ -e {flag} ] && rm {flag} && exit 0\n: >{flag}\nexit 1\n")
        script.chmod(0o755)
        check = (script, -5)
    a, b = (ALL[engine](place, name) for engine, name in zip(engines, "ab"))
    sockets = [Addresses(place.wire.a, "a"), Addresses(place.wire.b, "b")]
    links, stop = [], threading.Event()
    try:
        a.start(configuration("a", MODE, check=check))
        until("the owner has its VIP", lambda: place.wire.vips("a") == 1)
        b.start(configuration("b", MODE))
        until("the standby waits", b.is_standby)
        time.sleep(1.5)
        began = time.time()
        if times:
            thread = threading.Thread(target=bounce, args=(place.wire, times, links, stop))
            thread.start()
        # What happened at the start is of no interest; who owned then is known.
        seen = [(at, name, there) for at, name, there in watch(sockets, seconds) if at >= began]
        ended = time.time()
        stop.set()
        if times:
            thread.join()
    finally:
        stop.set()
        a.end()
        b.end()
        for each in sockets:
            each.close()
    return shares(began, ended, seen, links)


def bounce(wire, times, links, stop):
    down, up = times
    while not stop.is_set():
        for way, seconds in (("down", down), ("up", up)):
            wire.middle.ip(f"link set dev a {way}")
            links.append((time.time(), "link", way == "up"))
            if stop.wait(seconds):
                break
    wire.middle.ip("link set dev a up")


def shares(began, ended, seen, links):
    """`a` owned at the beginning. An owner is who has the VIP and its link."""
    has, link, last = {"a": True, "b": False}, True, "a"
    without = two = changes = 0.0
    at = began
    for when, what, is_on in [*sorted(seen + links), (ended, None, None)]:
        owners = [name for name in has if has[name] and (link or name == "b")]
        length = max(min(when, ended) - at, 0)
        without += length if not owners else 0
        two += length if len(owners) == 2 else 0
        at = max(at, min(when, ended))
        if what == "link":
            link = is_on
        elif what:
            has[what] = is_on
        now = [name for name in has if has[name] and (link or name == "b")]
        if len(now) == 1 and now[0] != last:
            changes, last = changes + 1, now[0]
    whole = ended - began
    return {"without_percent": without / whole * 100, "two_percent": two / whole * 100, "changes": int(changes)}


def table(rows):
    found = [row for row in rows if row["part"] == "flapping" and "void" not in row]
    if not found:
        return []
    out = [f"The preferred host comes and goes for {found[0]['seconds']:.0f} s, {MODE}, priorities 250 and 249: share of the time without an "
           "owner / changes of owner / share with two owners.", "", f"| | {' | '.join(PAIRS)} |", "|---" * (len(PAIRS) + 1) + "|"]
    for shape in SHAPES:
        cells = []
        for pair in PAIRS:
            mine = [row for row in found if row["shape"] == shape and row["pair"] == pair]
            cells.append("; ".join(f"{r['without_percent']:.1f} % / {r['changes']} / {r['two_percent']:.1f} %" for r in mine) or "–")
        out.append(f"| {shape} | {' | '.join(cells)} |")
    return out + [""]
