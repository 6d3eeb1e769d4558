# SPDX-License-Identifier: Apache-2.0
"""Windows and aggregates, computed the plain way: every window keeps its records, and everything is
looked at again for each record. Written from the documentation, not from the program."""
import bisect
import datetime
import math
import zoneinfo

SIGNIFICANT = ("final", "early", "correction", "retraction")


def aggregate(records):
    """What all functions of the test make of the records, in the order of their arrival."""
    values = [r["v"] for r in records if r["v"] is not None]
    decimals = [r["d"] for r in records if r["d"] is not None]
    timed = [(r["t"], i, r["v"]) for i, r in enumerate(records) if r["v"] is not None]
    mean = sum(values) / len(values) if values else None
    spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    ordered = sorted(values)
    arrived = [(r["t"], i, f"{r['i']}, longer than a slot has room for") for i, r in enumerate(records)]
    bounds = [100, 400]
    return {
        "n": len(records), "c": len(values), "s": sum(values), "d": math.fsum(decimals), "a": mean,
        "mi": min(values, default=None), "ma": max(values, default=None),
        "f": min(timed, key=lambda x: (x[0], x[1]))[2] if timed else None,
        "l": max(timed, key=lambda x: (x[0], x[1]))[2] if timed else None,
        "va": spread, "sd": math.sqrt(spread) if spread is not None else None,
        "co": min(len(values), 5), "cd": len(set(values)),
        "q": ordered[int(0.9 * (len(ordered) - 1))] if ordered else None,
        "to": sorted(values, reverse=True)[:3],
        "h": [sum(1 for v in values if bisect.bisect_left(bounds, v) == i) for i in range(3)],
        "r": sum(values),
        "fx": min(arrived, default=(None,))[-1], "lx": max(arrived, default=(None,))[-1]}


class Partition:
    """One source partition; `kind` is the window's setting, `out` takes (key, start, end, kind,
    records or None), `late` the records that are late for all their windows."""

    def __init__(self, kind, grace=0, emit="close", out=None, late=None):
        self.kind, self.grace, self.clock = kind, grace, None
        self.emit = {"when": emit} if isinstance(emit, str) else {"when": "close"} | emit
        self.out, self.late = out, late
        self.panes, self.since, self.shown = {}, {}, {}
        self.ends, self.changed = {}, {}

    def closed(self, x, clock):
        return clock is not None and clock >= x + self.grace

    def show(self, key, start, end, records, clock):
        kind = "correction" if clock is not None and clock >= end else "early"
        self.out(key, start, end, kind, records)

    def finals(self):
        return self.emit["when"] != "update" and self.emit.get("close", True)

    def is_early(self, count):
        return self.emit["when"] in ("update", "both") or count >= self.emit.get("count", math.inf)

    def add(self, record):
        clock = record["t"] if self.clock is None else max(self.clock, record["t"])
        getattr(self, "add_" + next(iter(self.kind)))(record, clock)
        if clock != self.clock:
            previous, self.clock = self.clock, clock
            self.close(previous, clock)

    def end(self):
        self.close(self.clock, math.inf)

    def close(self, previous, clock):
        getattr(self, "close_" + next(iter(self.kind)))(previous, clock)

    # ---- tumbling --------------------------------------------------------------------------------

    def bounds(self, t):
        setting = self.kind["tumbling"]
        if "calendar" not in setting:
            start = (t - setting.get("offset", 0)) // setting["size"] * setting["size"]
            start += setting.get("offset", 0)
            return start, start + setting["size"]
        zone = zoneinfo.ZoneInfo(setting.get("timezone", "UTC"))
        day = datetime.datetime.fromtimestamp(t / 1000, zone).date()
        if setting["calendar"] == "week":
            day -= datetime.timedelta(days=day.weekday())
        elif setting["calendar"] == "month":
            day = day.replace(day=1)
        following = {"day": day + datetime.timedelta(days=1), "week": day + datetime.timedelta(days=7),
                     "month": (day + datetime.timedelta(days=31)).replace(day=1)}[setting["calendar"]]
        return tuple(round(datetime.datetime(d.year, d.month, d.day, tzinfo=zone).timestamp() * 1000)
                     for d in (day, following))

    def add_tumbling(self, record, clock):
        start, end = self.bounds(record["t"])
        at = record["k"], start, end
        if self.closed(end, clock):
            return self.late(record)
        pane = self.panes.setdefault(at, [])
        pane.append(record)
        self.since[at] = self.since.get(at, 0) + 1
        if self.is_early(self.since[at]):
            self.show(*at, list(pane), self.clock)
            self.since[at] = 0
            if self.emit.get("discard"):
                pane.clear()
        return None

    def close_tumbling(self, _previous, clock):
        for at in [at for at in self.panes if self.closed(at[2], clock)]:
            records = self.panes.pop(at)
            if self.finals():
                self.out(*at, "final", records)

    # ---- sliding {size, every} -------------------------------------------------------------------

    def add_sliding(self, record, clock):
        size, every = self.kind["sliding"]["size"], self.kind["sliding"].get("every")
        if every is None:
            return self.add_event(record, clock)
        key, t = record["k"], record["t"]
        starts = [s for s in range((t - size) // every * every, t + 1, every) if s <= t < s + size]
        open_ones = [s for s in starts if not self.closed(s + size, clock)]
        if starts and not open_ones:
            return self.late(record)
        for start in open_ones:
            self.panes.setdefault((key, start), []).append(record)
            self.changed.setdefault(key, set()).add(start)
            if self.emit["when"] in ("update", "both"):
                self.show(key, start, start + size, list(self.panes[key, start]), clock)
        if open_ones and "count" in self.emit:
            self.since[key] = self.since.get(key, 0) + 1
            if self.since[key] >= self.emit["count"]:
                self.since[key] = 0
                for start in sorted(self.changed.pop(key)):
                    if not self.closed(start + size, self.clock):
                        self.show(key, start, start + size, list(self.panes[key, start]), self.clock)
        return None

    def close_sliding(self, previous, clock):
        size = self.kind["sliding"]["size"]
        if "every" not in self.kind["sliding"]:
            return self.close_event(previous, clock)
        for at in [at for at in self.panes if self.closed(at[1] + size, clock)]:
            records = self.panes.pop(at)
            self.changed.get(at[0], set()).discard(at[1])
            if self.finals():
                self.out(at[0], at[1], at[1] + size, "final", records)
        for key in set(self.since) - {at[0] for at in self.panes}:  # nothing of it is left: from the start
            del self.since[key]
        return None

    # ---- sliding {size}: one ends at each event ----------------------------------------------------

    def add_event(self, record, clock):
        if self.closed(record["t"] + self.kind["sliding"]["size"] + 1, clock):
            return self.late(record)
        return self.panes.setdefault(record["k"], []).append(record)

    def close_event(self, previous, clock):
        size = self.kind["sliding"]["size"]
        after = -math.inf if previous is None else previous - self.grace - 1
        for key, records in self.panes.items():
            ends = {r["t"] for r in records}
            ends |= {r["t"] + 1 + size for r in records
                     if any(r["t"] < o["t"] <= r["t"] + 1 + size for o in records)}
            for end in ends:
                if after < end <= clock - self.grace - 1:
                    self.out(key, end - size, end, "final",
                             [r for r in records if end - size <= r["t"] <= end])

    # ---- sessions ----------------------------------------------------------------------------------

    def add_session(self, record, clock):
        gap, longest = self.kind["session"]["gap"], self.kind["session"].get("max", math.inf)
        key, t = record["k"], record["t"]
        first, last, touched = t, t, []
        for session in sorted(self.panes.get(key, []), key=lambda s: s["last"]):
            start, end = min(first, session["first"]), max(last, session["last"])
            if session["last"] >= t - gap and session["first"] <= t + gap and end - start <= longest:
                first, last = start, end
                touched.append(session)
        if self.closed(last + gap + 1, clock):
            return self.late(record)
        merged = {"first": first, "last": last, "records": [], "shown": None, "since": 0}
        for session in touched:
            if session["shown"] is not None:
                if (session["first"], session["last"]) != (first, last):
                    self.out(key, session["first"], session["shown"], "retraction", None)
                else:
                    merged["shown"] = session["shown"]
            merged["records"] += session["records"]
            merged["since"] += session["since"]
            self.panes[key].remove(session)
        merged["records"].sort(key=lambda r: r["i"])
        merged["records"].append(record)
        merged["since"] += 1
        self.panes.setdefault(key, []).append(merged)
        if self.is_early(merged["since"]):
            self.show(key, first, last + gap, list(merged["records"]), self.clock)
            merged["shown"], merged["since"] = last + gap, 0
        return None

    def close_session(self, _previous, clock):
        gap = self.kind["session"]["gap"]
        for key, sessions in self.panes.items():
            for session in [s for s in sessions if self.closed(s["last"] + gap + 1, clock)]:
                sessions.remove(session)
                if self.finals():
                    self.out(key, session["first"], session["last"] + gap, "final", session["records"])

    # ---- counts --------------------------------------------------------------------------------------

    def window_of(self, key, first):
        records = self.panes[key][first:]
        times = [r["t"] for r in records]
        return min(times), max(times), records

    def first_open(self, count):
        setting = self.kind["count"]
        every = setting.get("every", setting["size"])
        return max(0, count // every * every - setting["size"] + every)

    def add_count(self, record, _clock):
        key, setting = record["k"], self.kind["count"]
        size, every = setting["size"], setting.get("every", setting["size"])
        records = self.panes.setdefault(key, [])
        records.append(record)
        self.since[key] = 1 if len(records) % every == 1 or every == 1 else self.since.get(key, 0) + 1
        if len(records) % every == 0 and len(records) >= size:
            self.since[key] = 0
            if self.finals():
                start, end, inside = self.window_of(key, len(records) - size)
                self.out(key, start, end, "final", inside)
        elif self.is_early(self.since[key]):
            self.since[key] = 0
            start, end, inside = self.window_of(key, self.first_open(len(records)))
            self.out(key, start, end, "early", inside)

    def close_count(self, _previous, clock):
        setting = self.kind["count"]
        every = setting.get("every", setting["size"])
        for key, records in self.panes.items():
            partial = len(records) % every != 0 or len(records) < setting["size"]
            if clock == math.inf and partial and self.finals():
                start, end, inside = self.window_of(key, self.first_open(len(records)))
                self.out(key, start, end, "final", inside)
