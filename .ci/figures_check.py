"""Checks what `figures --json` printed, and that the page in docs/ has the same rows.

Usage: figures_check.py FIGURES.json docs/figures.md
No time is looked at, only that there are times: they belong to the machine.
"""

import json
import math
import pathlib
import sys

NUMBERS = ["ours_ns"]
NUMBERS_OR_NULL = [
    "peer_ns", "limit_ns", "ours_to_limit", "peer_to_ours", "peer_to_limit", "ours_allocs", "peer_allocs",
    "ours_instructions", "peer_instructions",
]
OTHERS = {"row": str, "unit": str, "peer": (str, type(None)), "no_allocation": bool, "aims_met": (bool, type(None))}


def faults(line):
    """What is wrong with one line."""
    row = json.loads(line)
    expected = {*NUMBERS, *NUMBERS_OR_NULL, *OTHERS}
    if set(row) != expected:
        yield f"has the keys {sorted(row)}, not {sorted(expected)}"
        return
    for key in NUMBERS + NUMBERS_OR_NULL:
        value = row[key]
        if value is None and key in NUMBERS_OR_NULL:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            yield f"{key} is {value!r}"
    for key, kind in OTHERS.items():
        if not isinstance(row[key], kind):
            yield f"{key} is {row[key]!r}"
    if row["no_allocation"] and row["ours_allocs"] != 0:
        yield f"allocates {row['ours_allocs']} times"
    if row["peer"] is not None and row["peer_ns"] is None:
        yield "has a peer without a figure"


def main(figures, page):
    lines = pathlib.Path(figures).read_text().splitlines()
    found = [f"{line[:60]}...: {fault}" for line in lines for fault in faults(line)]
    names = [json.loads(line)["row"] for line in lines]
    if not names or len(set(names)) != len(names):
        found.append(f"{len(names)} rows with {len(set(names))} names")
    cells = {line.split("|")[1].strip() for line in pathlib.Path(page).read_text().splitlines() if line.startswith("|")}
    missing = [name for name in names if name.removeprefix("bare ") not in cells]
    if missing:
        found.append(f"{page} is of other rows than these: {missing}; make it anew (see its first line)")
    if found:
        sys.exit("\n".join(found))
    print(f"{len(names)} rows, all well-formed, no allocation where none may be")


main(*sys.argv[1:])
