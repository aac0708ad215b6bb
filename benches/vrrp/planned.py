"""A planned move: `hapair-agent takeover` on the standby, and for comparison a hand-over by the owner."""

import statistics
import time

from addresses import Addresses, watch
from engines import ALL, configuration
from wire import Lost, say, until

MODE = "v2 1 s"
# The seed's.
PRIORITIES = {"a": 101, "b": 100}
CASES = {
    "takeover, agent from agent": ("agent", "takeover"),
    "takeover, agent from keepalived": ("keepalived", "takeover"),
    "hand-over, agent to agent": ("agent", "handover"),
}


def planned(world, args, rows):
    for case, (engine, command) in CASES.items():
        runs = args.planned if command == "takeover" else max(args.planned // 4, 3)
        with world.capture() as capture:
            a, b = ALL[engine](world, "a"), ALL["agent"](world, "b")
            sockets = [Addresses(world.wire.a, "a"), Addresses(world.wire.b, "b")]
            try:
                a.start(configuration("a", MODE, priority=PRIORITIES["a"]))
                until("the owner has its VIP", lambda: world.wire.vips("a") == 1)
                b.start(configuration("b", MODE, priority=PRIORITIES["b"]))
                until("the standby waits", b.is_standby)
                for run in range(runs):
                    row = {"part": "planned", "case": case, "run": run}
                    try:
                        row |= one(world, capture, sockets, a, b, command)
                    except Lost as lost:
                        row["void"] = str(lost)
                    rows.append(row)
            finally:
                a.end()
                b.end()
                for each in sockets:
                    each.close()
                world.wire.clear()
        times = [r["without_ms"] for r in rows if r["part"] == "planned" and r["case"] == case and "void" not in r]
        if times:
            say(f"{case}: without an owner {statistics.median(times):.2f} ms (median of {len(times)}), worst {max(times):.2f} ms")


def one(world, capture, sockets, a, b, command):
    """From the moment at which the owner has no VIP any more to the new owner's first word to the neighbours."""
    # At least one advert heard, and anywhere between two.
    time.sleep(1.2 + (time.time_ns() % 1000) / 1000)
    capture.drain()
    watch(sockets, 0.05)
    asked = time.time()
    who = b if command == "takeover" else a
    if refusal := who.tell(command):
        raise Lost(f"`{command}` was refused: {refusal}")
    moved = lambda seen: any(n == "a" and not there for _, n, there in seen) and any(n == "b" and there for _, n, there in seen)
    seen = watch(sockets, 10, moved)
    if not moved(seen):
        raise Lost("the VIP did not move")
    left = next(at for at, name, there in seen if name == "a" and not there)
    came = next(at for at, name, there in seen if name == "b" and there)
    # The new owner speaks after it has the address.
    told = None
    while told is None:
        packet = capture.read(5)
        if packet is None:
            raise Lost("the new owner told nobody")
        if packet.kind == "garp" and packet.outgoing:
            told = packet.at
    # Back, for the next run.
    b.ask("resume")
    if a.label == "agent":
        a.ask("resume")
        a.ask("takeover")
    until("the VIP is back", lambda: world.wire.vips("a") == 1 and world.wire.vips("b") == 0)
    if a.label == "agent":
        a.ask("resume")
    return {"without_ms": (told - left) * 1000, "address_ms": (came - left) * 1000, "asked_ms": (told - asked) * 1000}


def table(rows):
    found = [row for row in rows if row["part"] == "planned" and "void" not in row]
    if not found:
        return []
    out = [f"A planned move, {MODE}, priorities 101 and 100. Without an owner: from the moment at which the old owner has no VIP to the new "
           "owner's first gratuitous ARP; below 0, both had it for so long. Median (worst), ms.", "",
           "| move | runs | without an owner | from the command to the gratuitous ARP |", "|---|---|---|---|"]
    for case in CASES:
        mine = [row for row in found if row["case"] == case]
        if mine:
            cells = [f"{statistics.median(v):.2f} ({max(v):.2f})" for v in ([r["without_ms"] for r in mine], [r["asked_ms"] for r in mine])]
            out.append(f"| {case} | {len(mine)} | {' | '.join(cells)} |")
    return out + [""]
