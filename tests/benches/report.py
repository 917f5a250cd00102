#!/usr/bin/env python3
"""Puts what the bench has measured into BENCHMARKS.md and docs/cost.svg.

Reads target/bench/*.json (`cost --json`) and the baseline of the instruction counts. A part whose file is not there
stays as it is; of a run with `--only` the rows that were measured take the place of those of the same name.
"""

import json
import re
from pathlib import Path

from chart import chart
from page import cells, kept_notes, merged, number_in, put, text_of

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "target" / "bench"
PAGE = ROOT / "BENCHMARKS.md"
CHART = ROOT / "docs" / "cost.svg"
BASELINE = ROOT / "core" / "benches" / "counts" / "baseline.json"

# Columns of the table, in their order.
COLUMNS = ["smol", "smol floor", "std", "std floor", "HAProxy", "nginx", "axum", "fastwebsockets"]
# What is no difference, since machines are noisy.
NOISE = 1.15

# Row: (column, what it is compared with, most). Without a column to compare with, `most` is in the row's unit.
GOALS = {
    "upgrade, Basic (HMAC)": ("smol", "smol floor", 1.15),
    "upgrade, Basic (HMAC), log warn": ("smol", "smol floor", 1.15),
    "upgrade, Basic (bcrypt), repeated": ("smol", "smol floor", 1.3),
    "upgrade, ES256": ("smol", "smol floor", 1.15),
    "upgrade, RS256": ("smol", "smol floor", 1.15),
    "upgrade, ES256, repeated (floor: Basic)": ("smol", "smol floor", 1.3),
    "401, new connection": ("smol", "smol floor", 1.35),
    "401, new connection, log warn": ("smol", "smol floor", 1.1),
    "401, kept alive": ("smol", "smol floor", 1.35),
    "401, kept alive, log warn": ("smol", "smol floor", 1.1),
    "upgrade, TLS 1.3, Basic (HMAC)": ("smol", "smol floor", 1.15),
    "upgrade, TLS 1.3, ES256": ("smol", "smol floor", 1.15),
    "echo 125 B, depth 1": ("smol", "smol floor", 1.15),
    "echo 125 B, depth 16": ("smol", "smol floor", 1.3),
    # fastwebsockets stood at 0.83 and 0.95 times the floor on the machine of the yardsticks.
    "echo 16 KiB, depth 4": ("smol", "smol floor", 0.83 * NOISE),
    "echo 125 B, depth 1, TLS": ("smol", "smol floor", 1.15),
    "echo 16 KiB, depth 4, TLS": ("smol", "smol floor", 0.95 * NOISE),
    "proxied echo 125 B, depth 1": ("smol", "nginx", NOISE),
    "proxied echo 125 B, depth 16": ("smol", "nginx", NOISE),
    "proxied echo 16 KiB, depth 4": ("smol", "HAProxy", 1.0),
    "broadcast to 1,000, 1 outstanding": ("smol", None, 3.7),
    "broadcast to 1,000, 16 outstanding": ("smol", None, 0.7),
    "idle": ("smol", None, 3.5),
    "idle, TLS": ("smol", None, 10.0),
}
# The same for the program with threads.
STD_RATIO = 1.3
STD_IDLE_TLS = 45.0
# Growth from the first column to the worst; a prefix of the row's name.
GROWTH = {"upgrade, half-sent heads": 1.05, "": 1.10}
START_UP_SECONDS = 2.0
# The first words of the rows of growth, in their order.
GROWTH_ORDER = ["upgrade, open", "echo", "upgrade, half-sent", "upgrade, users", "upgrade, keys", "upgrade, services", "upgrade, entries", "threads", "start-up"]


def measured(name):
    path = MEASURED / f"{name}.json"
    if not path.exists():
        return None
    data = json.loads(path.read_text())
    for row in data["rows"]:
        row["values"] = dict(row["values"])
    return data


def number(value):
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def verdict(found, most, quick):
    if quick:
        return "not judged"
    return "met" if found <= most else "**not met**"


def smol_goal(row, quick):
    if row["name"] not in GOALS:
        return "-"
    column, other, most = GOALS[row["name"]]
    value, beside = row["values"].get(column), row["values"].get(other) if other else None
    if value is None or (other and beside is None):
        return "not compared"
    if other:
        return f"{value / beside:.2f} of {other}, at most {most:.2f}: {verdict(value / beside, most, quick)}"
    return f"at most {most}: {verdict(value, most, quick)}"


def std_goal(row, quick):
    value, floor = row["values"].get("std"), row["values"].get("std floor")
    if row["name"] == "idle, TLS" and value is not None:
        return f"at most {STD_IDLE_TLS:.0f}: {verdict(value, STD_IDLE_TLS, quick)}"
    if value is None or floor is None or not row["name"].startswith(("upgrade", "echo")):
        return "-"
    # What it does once and the floor every time, or what the floor does not do.
    if "repeated" in row["name"]:
        return f"{value / floor:.2f}"
    return f"{value / floor:.2f}, at most {STD_RATIO}: {verdict(value / floor, STD_RATIO, quick)}"


def table(data, before):
    rows = [
        {
            "one": f"{row['name']}, {row['unit']}",
            **{name: number(row["values"].get(name)) for name in COLUMNS if name in row["values"]},
            "goal of smol": smol_goal(row, data["quick"]),
            "goal of std": std_goal(row, data["quick"]),
        }
        for row in data["rows"]
    ]
    order = [*GOALS] if data["partial"] else []
    yield from merged(["one", *COLUMNS, "goal of smol", "goal of std"], rows, before if data["partial"] else "", order)
    said = [line for line in before.splitlines() if line and not line.startswith("|")] if data["partial"] else []
    yield from (f"\n{note}" for note in dict.fromkeys([*said, *data["notes"]]))


def growth_goal(row, quick):
    values = list(row["values"].values())
    if row["name"].startswith("start-up"):
        return f"at most {START_UP_SECONDS:.0f} s: {verdict(values[0], START_UP_SECONDS, quick)}"
    most = next(most for name, most in GROWTH.items() if row["name"].startswith(name))
    worst = max(values[1:]) / values[0]
    if row["name"].endswith("bare epoll"):
        return f"{worst:.2f}"
    return f"{worst:.2f}, at most {most:.2f}: {verdict(worst, most, quick)}"


def growth(data, before):
    rows = []
    for row in data["rows"]:
        unit = "" if row["name"].startswith("start-up") else f" {row['unit']}"
        found = "; ".join(f"{name} {number(value)}{unit}" for name, value in row["values"].items())
        crowds = "; ".join(f"{name} {share:.1f} %" for name, share in row.get("crowds", []))
        rows.append(
            {
                "what": row["name"],
                "found": found,
                "the crowd itself, of one processor": crowds or "-",
                "goal": growth_goal(row, data["quick"]),
            }
        )
    head = ["what", "found", "the crowd itself, of one processor", "goal"]
    yield from merged(head, rows, before if data["partial"] else "", GROWTH_ORDER)


def notes(data, before):
    # Of a soak of one program the line of the other stays: they differ in their first words.
    yield from kept_notes([f"- {note}" for note in data["notes"]], before if data["partial"] else "")


def machine(data, before):
    about = data["machine"]
    memory = int(about["memory"].split()[0]) / 1024 / 1024
    line = (
        f"{about['date']} on {about['processors']} processors ({about['processor']}), {memory:.0f} GiB, "
        f"Linux {about['kernel']}, {about['rustc']}"
    )
    quick = ", **a quick run, whose numbers mean nothing**" if data["quick"] else ""
    if not data["partial"]:
        yield f"Measured {line}{quick}."
        return
    names = [row["name"] for row in data["rows"]]
    # A row is named where it was measured last.
    for old in filter(None, before.splitlines()):
        where, _, measured_then = old.removesuffix(".").partition(": ")
        left = [name for name in measured_then.split("; ") if name not in names]
        if old.startswith("Measured"):
            yield old
        elif left:
            yield f"\n{where}: {'; '.join(left)}."
    yield f"\nAnew {line}{quick}: {'; '.join(names)}."


def counts():
    data = json.loads(BASELINE.read_text())
    head = ["instructions of one", "count"]
    rows = [dict(zip(head, (name, f"{count:,}"))) for name, count in data["instructions"].items()]
    yield from merged(head, rows)
    yield "\nToolchain: " + ", ".join(data["toolchain"].values()) + "."


def charted(page):
    """The chart's data, from what stands on the page: in a part of a run not all rows are there."""
    about = re.search(r"Measured (\S+) on \d+ processors \((.*?)\)", text_of(page, "machine"))
    rows = []
    for row in cells(text_of(page, "table")):
        name, unit = row["one"].rsplit(", ", 1)
        found = ((column, number_in(row.get(column, ""))) for column in COLUMNS)
        values = {column: value for column, value in found if value is not None}
        rows.append({"name": name, "unit": unit, "values": values})
    return {
        "rows": rows,
        "machine": {"date": about[1], "processor": about[2]},
        "quick": "a quick run" in text_of(page, "machine"),
    }


def main():
    page = PAGE.read_text()
    for name, file, write in [
        ("machine", "table", machine),
        ("table", "table", table),
        ("growth machine", "growth", machine),
        ("growth", "growth", growth),
        ("hold", "hold", notes),
        ("soak", "soak", notes),
    ]:
        data = measured(file)
        # A fault, or names that are all of another part.
        if data and (data["rows"] or data["notes"]):
            page = put(page, name, write(data, text_of(page, name)))
    if BASELINE.exists():
        page = put(page, "counts", counts())
    PAGE.write_text(page)
    if measured("table"):
        CHART.write_text(chart(charted(page)))


if __name__ == "__main__":
    main()
