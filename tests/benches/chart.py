"""The chart of the README: bars of a few rows, readable on dark and on light ground."""

# Row, what it is called here.
ROWS = [
    ("upgrade, ES256", "upgrade, new ES256 token"),
    ("upgrade, ES256, repeated (floor: Basic)", "upgrade, the same token again"),
    ("401, kept alive", "401, connection kept"),
    ("echo 125 B, depth 16", "echo of 125 B, 16 at once"),
    ("proxied echo 125 B, depth 16", "proxied echo of 125 B, 16 at once"),
    ("idle, TLS", "idle connection with TLS"),
]
COLUMNS = ["smol", "fastwebsockets", "axum", "HAProxy", "nginx"]
NAMES = {"smol": "countersign", "fastwebsockets": "fastwebsock."}
# In pixels.
WIDTH, GROUP, LEFT, BAR, STEP, HEAD = 960, 480, 110, 16, 24, 34

STYLE = """
  .ground { fill: #ffffff; }
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1c2530; font-size: 13.5px; }
  .title { font-size: 15px; font-weight: 600; }
  .name { text-anchor: end; }
  .note { fill: #55606d; font-size: 12.5px; }
  .ours { fill: #0b6b5d; }
  .other { fill: #b3bac1; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #12171c; }
    text { fill: #e7ebee; }
    .note { fill: #a4afb9; }
    .ours { fill: #5fcab5; }
    .other { fill: #57626c; }
  }
"""


def group(row, title, left, top):
    values = [(name, row["values"][name]) for name in COLUMNS if name in row["values"]]
    scale = (GROUP - LEFT - 100) / max(value for _, value in values)
    yield f'<text class="title" x="{left + 16}" y="{top + 18}">{title}, {row["unit"]}</text>'
    for place, (name, value) in enumerate(values):
        y = top + HEAD + place * STEP
        kind = "ours" if name == "smol" else "other"
        width = max(value * scale, 1)
        yield f'<text class="name" x="{left + LEFT - 8}" y="{y + 13}">{NAMES.get(name, name)}</text>'
        yield f'<rect class="{kind}" x="{left + LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
        text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
        yield f'<text x="{left + LEFT + width + 6:.1f}" y="{y + 13}">{text}</text>'


def chart(data):
    """Returns the SVG."""
    rows = {row["name"]: row for row in data["rows"]}
    shown = [(rows[name], title) for name, title in ROWS if name in rows]
    parts, top = [], 12
    for start in range(0, len(shown), 2):
        pair = shown[start : start + 2]
        for side, (row, title) in enumerate(pair):
            parts.extend(group(row, title, side * GROUP, top))
        bars = max(sum(name in row["values"] for name in COLUMNS) for row, _ in pair)
        top += HEAD + bars * STEP + 14
    about = data["machine"]
    note = f"Processor time or memory of the server for one; less is better. {about['date']}, {about['processor']}."
    if data["quick"]:
        note += " A quick run: not to be relied on."
    parts.append(f'<text class="note" x="16" y="{top + 12}">{note}</text>')
    height = top + 28
    described = "; ".join(
        f"{title}: " + ", ".join(f"{NAMES.get(name, name)} {row['values'][name]:.2f}" for name in COLUMNS if name in row["values"])
        for row, title in shown
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title description">\n'
        f'<title id="title">What one costs the server</title>\n<desc id="description">{described}</desc>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
