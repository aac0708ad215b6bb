"""Rows to markdown."""

import collections
import os
import statistics

import churn
import flapping
import planned

WORDS = {
    "killed": "SIGKILL of the daemon",
    "stopped": "graceful stop (SIGTERM)",
    "check, weight -5": "failed check, weight -5",
    "check, weight 0": "failed check, weight 0",
    "silent": "silent death (SIGSTOP)",
}


def tables(rows, versions):
    if not rows:
        return "Nothing was measured."
    out = [f"{', '.join(versions)}; {os.cpu_count()} cores.", ""]
    whole = rows
    rows = [row for row in whole if "void" not in row]
    for part in (failover, silent, many, use, jitter, contention, hmac, flapping.table, planned.table, churn.table, verdict):
        out += part(rows)
    out += left_out(whole)
    loads = [row["load"] for row in rows if "load" in row]
    if loads:
        out.append(f"Load average of the machine during the runs: {min(loads):.1f} to {max(loads):.1f}.")
    return "\n".join(out)


def of(rows, **wanted):
    """Those rows, without the runs that are left out."""
    return [row for row in rows if "void" not in row and all(row.get(key) == value for key, value in wanted.items())]


def middle(rows, field, **wanted):
    found = [row[field] for row in of(rows, **wanted) if field in row]
    return statistics.median(found) if found else None


def ordered(rows, field, part):
    return list(dict.fromkeys(row[field] for row in of(rows, part=part)))


def number(value, digits=1):
    return "–" if value is None else f"{value:.{digits}f}"


def ratio(agent, keepalived):
    return "–" if not agent or keepalived is None else f"{keepalived / agent:.2f}"


def failover(rows):
    if not of(rows, part="failover"):
        return []
    runs = max((row["run"] for row in of(rows, part="failover") if row["event"] != "silent"), default=-1) + 1
    silent = max(row["run"] for row in of(rows, part="failover", event="silent")) + 1 if of(rows, event="silent") else 0
    out = [f"From the event at the owner to the standby's first gratuitous ARP; median of {runs} runs "
           f"({silent} of silent death), 1 instance, priorities 250 and 249, ms.", "", "| adverts | event | agent | keepalived | keepalived / agent |", "|---|---|---|---|---|"]
    for mode in ordered(rows, "mode", "failover"):
        for event in WORDS:
            agent, keepalived = (middle(rows, "ms", part="failover", mode=mode, event=event, engine=e) for e in ("agent", "keepalived"))
            if agent is not None:
                out.append(f"| {mode} | {WORDS[event]} | {number(agent)} | {number(keepalived)} | {ratio(agent, keepalived)} |")
    out += ["", "SIGKILL goes to every process of a daemon. The agent's stop step, `hapair-agent release`, is started by this "
            "program as soon as the daemon is dead; systemd needs 13 to 36 ms for that, which is to be added. keepalived has no "
            "such step. A failed check counts from the end of the script that fails.", ""]
    return out


def silent(rows):
    if not of(rows, event="silent"):
        return []
    out = ["Silent death, from the owner's last advert, less the RFC's master_down; median (min to max), ms.", "",
           "| adverts | formula | agent | keepalived |", "|---|---|---|---|"]
    for mode in ordered(of(rows, event="silent"), "mode", "failover"):
        cells = []
        for engine in ("agent", "keepalived"):
            over = [r["after_advert_ms"] - r["formula_ms"] for r in of(rows, event="silent", mode=mode, engine=engine)]
            cells.append(f"{statistics.median(over):+.2f} ({min(over):+.2f} to {max(over):+.2f})" if over else "–")
        formula = of(rows, event="silent", mode=mode)[0]["formula_ms"]
        out.append(f"| {mode} | {formula:.1f} | {' | '.join(cells)} |")
    return out + [""]


def many(rows):
    if not of(rows, part="many"):
        return []
    out = ["255 VIPs at a graceful stop, v2 1 s; from SIGTERM to the standby's gratuitous ARPs; median, ms.", "",
           "| VIPs as | | agent | keepalived | keepalived / agent |", "|---|---|---|---|---|"]
    for shape in ordered(rows, "shape", "many"):
        for field, words in (("first_ms", "first VIP"), ("last_ms", "last VIP"), ("spread_ms", "first to last")):
            agent, keepalived = (middle(rows, field, part="many", shape=shape, engine=e) for e in ("agent", "keepalived"))
            out.append(f"| {shape} | {words} | {number(agent)} | {number(keepalived)} | {ratio(agent, keepalived)} |")
    return out + [""]


def use(rows):
    if not of(rows, part="cpu"):
        return []
    out = ["CPU in % of one core, by the scheduler's own count; memory of all processes of the daemon on one host, KiB.", "",
           "| adverts | instances | CPU of the owner: agent / keepalived | CPU of the standby | Rss | Pss |", "|---|---|---|---|---|---|"]
    for mode in ordered(rows, "mode", "cpu"):
        for size in ordered(of(rows, mode=mode), "instances", "cpu"):
            cells = []
            for field, digits in (("owner_percent", 2), ("standby_percent", 2), ("rss_kib", 0), ("pss_kib", 0)):
                a, k = (middle(rows, field, part="cpu", mode=mode, instances=size, engine=e) for e in ("agent", "keepalived"))
                share = f" = {a / k:.2f}" if a is not None and k else ""
                cells.append(f"{number(a, digits)} / {number(k, digits)}{share}")
            out.append(f"| {mode} | {size} | {' | '.join(cells)} |")
    return out + [""]


def jitter(rows):
    found = [row for row in of(rows, part="cpu") if row["gaps_ms"]]
    if not found:
        return []
    out = ["Gaps between the adverts of one instance: p50 / p99 / max, ms.", "", "| adverts | instances | agent | keepalived |", "|---|---|---|---|"]
    for mode in ordered(found, "mode", "cpu"):
        for size in ordered(of(found, mode=mode), "instances", "cpu"):
            cells = []
            for engine in ("agent", "keepalived"):
                gaps = sorted(gap for row in of(found, mode=mode, instances=size, engine=engine) for gap in row["gaps_ms"])
                points = (gaps[len(gaps) // 2], gaps[int(len(gaps) * 0.99)], gaps[-1]) if gaps else ()
                cells.append(" / ".join(f"{point:.2f}" for point in points))
            out.append(f"| {mode} | {size} | {' | '.join(cells)} |")
    return out + [""]


def contention(rows):
    found = of(rows, part="contention")
    if not found:
        return []
    seconds = found[0]["seconds"]
    out = [f"VIPs taken over in {seconds} s although nobody failed: 8 busy loops, 10 ms adverts, real-time priority 50 for both.", "",
           "| instances | agent | keepalived |", "|---|---|---|"]
    for size in ordered(rows, "instances", "contention"):
        cells = []
        for engine in ("agent", "keepalived"):
            row = of(found, instances=size, engine=engine)
            cells.append("–" if not row else f"{row[0]['moves']}" + ("" if row[0]["alive"] else ", and the daemon ended"))
        out.append(f"| {size} | {' | '.join(cells)} |")
    return out + [""]


def hmac(rows):
    found = of(rows, part="hmac")
    if not found:
        return []
    out = ["What `auth_hmac` costs the agent: 255 instances, 10 ms adverts, CPU in % of one core and memory in KiB; median.", "",
           "| | CPU of the owner | CPU of the standby | Rss |", "|---|---|---|---|"]
    for mode in ordered(found, "mode", "hmac"):
        cells = [number(middle(found, field, mode=mode), digits) for field, digits in (("owner_percent", 2), ("standby_percent", 2), ("rss_kib", 0))]
        out.append(f"| {mode} | {' | '.join(cells)} |")
    return out + [""]


def left_out(rows):
    """Runs that came out otherwise than they were set up: how many, and why."""
    void = [row for row in rows if "void" in row]
    if not void:
        return []
    counts = collections.Counter(tuple(str(row[key]) for key in NAMES if key in row) + (row["void"],) for row in void)
    out = [f"Left out of the medians: {len(void)} of {len(rows)} runs.", ""]
    return out + [f"* {count} × {', '.join(names)}: {why}" for (*names, why), count in counts.items()] + [""]


NAMES = ("part", "engine", "mode", "event", "shape", "instances", "pair", "case")


def verdict(rows):
    """What the project expects of the agent, each with what was seen."""
    lines = []

    def expect(words, value, met, unit=""):
        if value is not None:
            lines.append(f"* {words}: {value:.2f}{unit}, {'met' if met(value) else 'MISSED'}.")

    def faster(event, mode):
        agent, keepalived = (middle(rows, "ms", part="failover", mode=mode, event=event, engine=e) for e in ("agent", "keepalived"))
        return keepalived / agent if agent and keepalived else None

    expect("SIGKILL at v2 1 s, wanted 4 times faster", faster("killed", "v2 1 s"), lambda v: v >= 4, "×")
    for mode in ordered(rows, "mode", "failover"):
        over = [r["after_advert_ms"] - r["formula_ms"] for r in of(rows, event="silent", mode=mode, engine="agent")]
        expect(f"silent death at {mode}, wanted within 0.5 ms of the formula", statistics.median(over) if over else None, lambda v: abs(v) <= 0.5, " ms")
        expect(f"failed check with a weight at {mode}, wanted 3 times faster", faster("check, weight -5", mode), lambda v: v >= 3, "×")
        expect(f"graceful stop at {mode}, wanted no slower", faster("stopped", mode), lambda v: v >= 0.97, "×")
    for field, words, least in (("first_ms", "first of 255 VIPs, wanted no slower", 0.97), ("spread_ms", "first to last of 255 VIPs, wanted 2 times faster", 2)):
        agent, keepalived = (middle(rows, field, part="many", shape="255 instances", engine=e) for e in ("agent", "keepalived"))
        expect(words, keepalived / agent if agent and keepalived else None, lambda v, least=least: v >= least, "×")
    for mode in ordered(rows, "mode", "cpu"):
        for field, words in (("owner_percent", "CPU of the owner"), ("standby_percent", "CPU of the standby"), ("rss_kib", "Rss"), ("pss_kib", "Pss")):
            agent, keepalived = (middle(rows, field, part="cpu", mode=mode, instances=255, engine=e) for e in ("agent", "keepalived"))
            expect(f"{words} at 255 instances, {mode}, wanted half", agent / keepalived if agent and keepalived else None, lambda v: v <= 0.5, "×")
    moves = [row["without_ms"] for row in of(rows, part="planned", case="takeover, agent from agent")]
    expect("planned move between agents at v2 1 s, wanted at most 3 ms without an owner", statistics.median(moves) if moves else None, lambda v: v <= 3, " ms")
    for shape in dict.fromkeys(row["shape"] for row in of(rows, part="flapping")):
        agent, keepalived = (of(rows, part="flapping", shape=shape, pair=f"{engine} pair") for engine in ("agent", "keepalived"))
        if agent and keepalived:
            # A share moves by 2 % with the moment at which the first fault comes between two adverts, and a change more is luck.
            for field, slack, unit in (("without_percent", 3, " % without an owner"), ("changes", 2, " changes of owner")):
                most = keepalived[0][field] + slack
                expect(f"{shape}, wanted no more than keepalived's pair", agent[0][field], lambda v, most=most: v <= most, unit)
    for row in of(rows, part="contention", engine="agent"):
        lines.append(f"* contention at {row['instances']} instances, wanted no spurious takeover: {row['moves']}, {'met' if row['moves'] == 0 and row['alive'] else 'MISSED'}.")
    return ["What is wanted of the agent:", "", *lines, ""] if lines else []
