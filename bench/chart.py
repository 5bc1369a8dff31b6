"""The chart for the README: images a second on photographs, as SVG that reads on light and dark."""

from __future__ import annotations

from html import escape

from bench.results import Results

WIDTH, LEFT, ROW, BAR = 720, 250, 30, 18
OURS, FLOOR, OTHERS = "#2f81f7", "#8b949e", "#d29922"


def chart(results: Results) -> str:
    """Draw a bar for each contestant of the shapes with throughput; longer is faster."""
    parts: list[str] = []
    size = "" if results.scale == 1 else f" at {results.scale:g} of full size"
    y = 8
    for name in ("photos", "tiny", "large", "many", "delivery"):
        sentence, lines = results.shapes.get(name, ("", []))
        shown = [line for line in lines if line.runs]
        if not shown:
            continue
        y += 20
        parts.append(
            f'<text x="0" y="{y}" class="title">{escape(sentence.rstrip("."))}{size}, images a second</text>'
        )
        most = max(line.images / line.seconds for line in shown)
        for line in shown:
            rate = line.images / line.seconds
            length = max(1.0, rate / most * (WIDTH - LEFT - 80))
            colour = OURS if line.name.startswith("pipeline") else FLOOR if "floor" in line.name else OTHERS
            middle = y + ROW - 10
            parts += [
                f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(line.name)}</text>',
                f'<rect x="{LEFT}" y="{middle - 13}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
                f'<text x="{LEFT + length + 6:.1f}" y="{middle}">{rate:,.0f}</text>',
            ]
            y += ROW
        y += 12
    style = (
        "text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}"
        "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 8}" viewBox="0 0 {WIDTH} {y + 8}" '
        f'role="img" aria-label="Images a second, by contestant"><style>{style}</style>{"".join(parts)}</svg>\n'
    )
