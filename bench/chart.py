# SPDX-License-Identifier: Apache-2.0
"""SVG charts of benchmark results: horizontal bars and lines, both on logarithmic axes."""

import math
import pathlib

COLOURS = ("#1f6f8b", "#c8553d", "#588157", "#7b2d8b", "#b08900", "#444444")
PALE = "#9fc9d6"


class Picture:
    def __init__(self, width, height):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                      'font-family="sans-serif" font-size="11">',
                      '<rect width="100%" height="100%" fill="white"/>']

    def text(self, x, y, text, anchor="start", size=11, turn=None):
        text = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{turned}>'
                          f"{text}</text>")

    def rect(self, x, y, width, height, fill):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" '
                          f'fill="{fill}"/>')

    def line(self, points, stroke="#ccc", width=1.0, dashed=False):
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline points="{at}" fill="none" stroke="{stroke}" '
                          f'stroke-width="{width}"{dashes}/>')

    def dot(self, x, y, fill):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{fill}"/>')

    def write(self, path):
        pathlib.Path(path).write_text("\n".join(self.parts + ["</svg>", ""]), encoding="utf-8")


def bars(path, title, rows, text_of):
    """rows: (label, 1 thread or not, value >= 1, goal or None); a pair of shades for 1 and more threads."""
    labels = list(dict.fromkeys(row[0] for row in rows))
    left, width, height, top = 330, 560, 20, 50
    most = max(row[2] for row in rows)
    x_of = lambda v: left + width * max(0.0, math.log(v)) / math.log(max(2, most))
    picture = Picture(left + width + 70, top + height * len(labels) + 20)
    picture.text(left, 16, title, size=13)
    for shade, text, at in ((COLOURS[0], "1 thread", left), (PALE, "more threads", left + 90)):
        picture.rect(at, 23, 10, 10, shade)
        picture.text(at + 14, 32, text)
    picture.line([(left + 200, 22), (left + 200, 34)], COLOURS[1], 2)
    picture.text(left + 206, 32, "goal")
    for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if tick <= most:
            picture.line([(x_of(tick), top - 4), (x_of(tick), top + height * len(labels))])
            picture.text(x_of(tick), top - 6, tick, "middle")
    for i, label in enumerate(labels):
        y = top + height * i
        picture.text(left - 6, y + 13, label, "end")
        for text, first, value, goal in rows:
            if text == label:
                if goal:
                    picture.line([(x_of(goal), y), (x_of(goal), y + height - 1)], COLOURS[1], 2)
                picture.rect(left, y + (2 if first else 10), max(1.0, x_of(value) - left), 7,
                             COLOURS[0] if first else PALE)
                picture.text(x_of(value) + 4, y + (9 if first else 17), text_of(value), size=8)
    picture.write(path)


class Panel:
    """lines: (name, [(x, y)], dashed); x at powers of two, y as y_text writes it. A dashed line has the colour of
    the one before it."""

    def __init__(self, title, x_label, lines, y_text):
        self.title, self.x_label, self.lines, self.y_text = title, x_label, lines, y_text

    def draw(self, picture, left, top, width, height):
        xs = sorted({x for _, points, _ in self.lines for x, _ in points})
        ys = [y for _, points, _ in self.lines for _, y in points]
        low, high = min(ys) / 1.3, max(ys) * 1.3
        right = max(xs[-1], 2 * xs[0])
        x_of = lambda x: left + width * math.log(x / xs[0]) / math.log(right / xs[0])
        y_of = lambda y: top + height * (1 - math.log(y / low) / math.log(high / low))
        picture.text(left, top - 10, self.title, size=13)
        picture.text(left + width / 2, top + height + 34, self.x_label, "middle")
        for x in xs:
            picture.line([(x_of(x), top), (x_of(x), top + height)], "#eee")
            picture.text(x_of(x), top + height + 15, x if x < 2048 else f"{x // 1024}k", "middle", 9)
        steps = (1,) if high / low > 300 else (1, 2, 5)
        for tick in (s * 10.0**e for e in range(-3, 13) for s in steps):
            if low <= tick <= high:
                picture.line([(left, y_of(tick)), (left + width, y_of(tick))], "#eee")
                picture.text(left - 5, y_of(tick) + 3, self.y_text(tick), "end", 9)
        hue = -1
        for i, (name, points, dashed) in enumerate(self.lines):
            hue += not dashed
            colour, at = COLOURS[hue % len(COLOURS)], top + height + 56 + 16 * i
            where = [(x_of(x), y_of(y)) for x, y in points]
            picture.line(where, colour, 2, dashed)
            for x, y in where if not dashed else ():
                picture.dot(x, y, colour)
            picture.line([(left, at - 4), (left + 22, at - 4)], colour, 2, dashed)
            picture.text(left + 28, at, name)


def panels(path, drawn, notes=()):
    """Panels side by side, and lines of text below them."""
    width, height, left, top = 400, 300, 75, 35
    below = top + height + 60 + 16 * max(len(p.lines) for p in drawn)
    picture = Picture(len(drawn) * (width + left) + 30, below + 16 * len(notes) + 4)
    for i, panel in enumerate(drawn):
        panel.draw(picture, left + i * (width + left), top, width, height)
    for i, note in enumerate(notes):
        picture.text(left, below + 16 * i + 4, note)
    picture.write(path)
