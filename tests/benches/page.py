"""The page between its marks: tables read, merged and written."""

import re


def marks(name):
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"


def text_of(page, name):
    """Returns what stands between the marks of `name`."""
    begin, end = marks(name)
    found = re.search(re.escape(begin) + "\n(.*?)\n?" + re.escape(end), page, re.DOTALL)
    assert found, f"the page has no place for {name}"
    return found[1]


def put(page, name, text):
    """Returns the page with these lines between the marks of `name`."""
    begin, end = marks(name)
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    assert pattern.search(page), f"the page has no place for {name}"
    return pattern.sub(lambda _: f"{begin}\n" + "\n".join(text) + f"\n{end}", page)


def cells(text):
    """Returns the rows of the table in `text`, each a dictionary by column."""
    split = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line] for line in split]
    return [dict(zip(split[0], line)) for line in split[2:]] if split else []


def number_in(cell):
    """Returns the number of a cell, or nothing."""
    return None if cell in ("", "-") else float(cell.replace(",", ""))


def merged(head, rows, before="", order=()):
    """Writes a table of those columns of `head` that any row has. The first column names a row: those of the table in
    `before` stay unless they are in `rows`. Rows are sorted by the words of `order` with which they begin."""
    key = head[0]
    new = {row[key]: row for row in rows}
    all_rows = [new.pop(row[key], row) for row in cells(before)] + list(new.values())

    def place(row):
        # The longest, since some names begin like others.
        fits = [(len(words), -number) for number, words in enumerate(order) if row[key].startswith(words)]
        return -max(fits)[1] if fits else len(order)

    all_rows.sort(key=place)
    present = [name for name in head if any(row.get(name, "-") != "-" for row in all_rows)]
    yield "| " + " | ".join(present) + " |"
    yield "|---" * len(present) + "|"
    for row in all_rows:
        yield "| " + " | ".join(row.get(name, "-") for name in present) + " |"


def kept_notes(new, before):
    """Returns the lines of `before` with those of `new` in the place of lines that begin with the same words, up to
    the first comma."""
    first = {line.split(",")[0]: line for line in new}
    for line in before.splitlines():
        yield first.pop(line.split(",")[0], line)
    yield from first.values()
