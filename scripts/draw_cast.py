#!/usr/bin/python3
"""Draws a recording of a terminal (asciinema, version 2) as an SVG that plays by itself.

    scripts/draw_cast.py CAST > SVG

    scripts/draw_cast.py --text CAST      the last picture as text

Each line of the screen is drawn once for each text that it has, and shown by CSS for as long as it has it: no scripts,
which GitHub takes out. Who wants no motion, or cannot have any, sees the last picture. The screen does not scroll: what
is recorded fits it. Needs python3-pyte.
"""

import json
import re
import sys
from html import escape

import pyte

# Nobody watches a guest boot: what is longer is cut down to this many seconds.
IDLE = 1.5
# Between two pictures, and before it begins anew.
FRAME, REST = 0.3, 6.0
CELL, LINE, MARGIN = 8.4, 18, 14
COLOURS = {"red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341", "blue": "#79c0ff", "cyan": "#76e3ea"}
STYLE = """text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#e6edf3}}
g{{animation-duration:{seconds}s;animation-iteration-count:infinite;animation-timing-function:step-end}}
.gone{{visibility:hidden}}
@media(prefers-reduced-motion:reduce){{g{{animation:none!important}}}}"""


def moments(events):
    """The times at which they are shown, and their texts."""
    shown, before = 0.0, 0.0
    for at, kind, text in events:
        shown, before = shown + min(at - before, IDLE), at
        if kind == "o":
            yield shown, text


def spans(line, columns):
    """A line of the screen as texts of one colour each, without the blanks at its end."""
    cells = [line[column] for column in range(columns)]
    while cells and cells[-1].data == " ":
        cells.pop()
    found = []
    for cell in cells:
        style = (cell.fg, cell.bold)
        if found and found[-1][0] == style:
            found[-1][1] += cell.data
        else:
            found.append([style, cell.data])
    return tuple((style, text) for style, text in found)


def pictures(events):
    """The times of the pictures, and what came to the screen by each of them."""
    texts = {}
    for at, text in moments(events):
        picture = round(at / FRAME) * FRAME
        texts[picture] = texts.get(picture, "") + text
    return texts.items()


def versions(header, events):
    """What each line of the screen is, from when to when; and the end of it all."""
    screen = pyte.Screen(header["width"], header["height"])
    stream = pyte.Stream(screen)
    lines, taken, at = {}, [], 0.0
    for at, text in pictures(events):
        stream.feed(text)
        for row in range(header["height"]):
            now = spans(screen.buffer[row], header["width"])
            before = lines.get(row)
            if before and before[1] == now:
                continue
            if before and before[1]:
                taken.append((row, before[1], before[0], at))
            lines[row] = (at, now)
    end = at + REST
    taken += [(row, now, at, end) for row, (at, now) in lines.items() if now]
    return sorted(taken, key=lambda v: (v[0], v[2])), end


def line_of_text(row, found):
    pieces, column = [], 0
    for (colour, bold), text in found:
        style = f' fill="{COLOURS[colour]}"' if colour in COLOURS else ""
        style += ' font-weight="bold"' if bold else ""
        # Each piece says where it is: the reader's font need not be as wide as thought, and blanks may fall together.
        for words in re.finditer(r"\S+( \S+)*", text):
            x, width = MARGIN + (column + words.start()) * CELL, len(words[0]) * CELL
            pieces.append(f'<tspan x="{x:g}" textLength="{width:g}"{style}>{escape(words[0])}</tspan>')
        column += len(text)
    return f'<text y="{MARGIN + (row + 1) * LINE - 4}">{"".join(pieces)}</text>'


def read(cast):
    header, *events = [json.loads(line) for line in cast.splitlines()]
    return header, events


def as_text(cast):
    taken, end = versions(*read(cast))
    return "".join("".join(text for _, text in found) + "\n" for _, found, _, ends in taken if ends == end)


def drawn(cast):
    header, events = read(cast)
    taken, end = versions(header, events)
    rows = max(row for row, *_ in taken) + 1
    width, height = 2 * MARGIN + header["width"] * CELL, 2 * MARGIN + rows * LINE
    keys, lines = [], []
    for number, (row, found, begins, ends) in enumerate(taken):
        first, last = (round(100 * at / end, 2) for at in (begins, ends))
        hidden = f"{last:g}%{{visibility:hidden}}" if ends < end else ""
        keys.append(f"@keyframes k{number}{{0%{{visibility:hidden}}{first:g}%{{visibility:visible}}{hidden}}}")
        gone = ' class="gone"' if ends < end else ""
        lines.append(f'<g{gone} style="animation-name:k{number}">{line_of_text(row, found)}</g>')
    style = "\n".join([STYLE.format(seconds=round(end, 1)), *keys])
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img">',
        f"<title>{escape(header['title'])}</title>",
        f"<style>{style}</style>",
        '<rect width="100%" height="100%" rx="8" fill="#0d1117"/>',
        *lines,
        "</svg>",
        "",
    ])


if __name__ == "__main__":
    make = as_text if sys.argv[1] == "--text" else drawn
    with open(sys.argv[-1], encoding="utf-8") as file:
        print(make(file.read()), end="")
