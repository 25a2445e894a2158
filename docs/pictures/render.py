"""Draws what a terminal shows as SVG: render.py TITLE <screen >picture.

The screen is what `tmux capture-pane -e -p` prints: lines with SGR sequences.
Every piece of text is as wide as its cells whatever font the reader has, and the
characters of boxes are drawn as shapes, so that lines meet. No font is loaded.
"""

import re
import sys
import unicodedata
from xml.sax.saxutils import escape

CELL, LINE, SIZE = 8.4, 20, 14  # of a character; pixels
EDGE, BAR = 16, 36  # around the text, and the bar with the title
INK, PAPER, RIM = "#e6edf3", "#0d1117", "#3d444d"
COLORS = [
    "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4",
    "#6e7681", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
]  # fmt: skip

# Which sides of its cell a box character reaches: up, right, down, left.
BOXES = {"│": "ud", "─": "rl", "┌": "rd", "┐": "dl", "└": "ur", "┘": "ul", "├": "urd", "┤": "udl", "┬": "rdl", "┴": "url", "┼": "urdl"}


def color256(number):
    if number < 16:
        return COLORS[number]
    if number >= 232:
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3
    steps = [0, 95, 135, 175, 215, 255]
    number -= 16
    return "#%02x%02x%02x" % (steps[number // 36], steps[number // 6 % 6], steps[number % 6])


class Style:
    def __init__(self):
        self.ink = self.paper = None
        self.marks = set()

    def copy(self):
        made = Style()
        made.ink, made.paper, made.marks = self.ink, self.paper, set(self.marks)
        return made

    def key(self):
        return self.ink, self.paper, tuple(sorted(self.marks))

    def colors(self):
        ink, paper = self.ink or INK, self.paper
        return (paper or PAPER, ink) if "reverse" in self.marks else (ink, paper)

    def take(self, codes):
        """Acts on one SGR sequence."""
        on = {1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "reverse", 9: "strike"}
        off = {22: ("bold", "faint"), 23: ("italic",), 24: ("underline",), 27: ("reverse",), 29: ("strike",)}
        codes = [int(code or 0) for code in codes.split(";")]
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.__init__()
            elif code in on:
                self.marks.add(on[code])
            elif code in off:
                self.marks.difference_update(off[code])
            elif code in (38, 48):
                shade = color256(codes[1]) if codes[0] == 5 else "#%02x%02x%02x" % tuple(codes[1:4])
                codes = codes[2:] if codes[0] == 5 else codes[4:]
                setattr(self, "ink" if code == 38 else "paper", shade)
            elif code in (39, 49):
                setattr(self, "ink" if code == 39 else "paper", None)
            else:
                for first, where, bright in ((30, "ink", 0), (40, "paper", 0), (90, "ink", 8), (100, "paper", 8)):
                    if first <= code < first + 8:
                        setattr(self, where, COLORS[code - first + bright])


def cells(line, style):
    """Yields the characters of a line with their columns, widths and styles."""
    column = 0
    for code, char in re.findall(r"\x1b\[([0-9;]*)m|(.)", line):
        if not char:
            style.take(code)
            continue
        width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        yield char, column, width, style.copy()
        column += width


def runs(line, style):
    """Gathers characters of one style into (text, column, width, style).

    What is not ASCII stands alone, since its width depends on the font, and so do
    several spaces, since SVG makes one of them.
    """
    gathered = None
    for char, column, width, look in cells(line, style):
        if gathered and joins(gathered[0], char) and gathered[3].key() == look.key():
            gathered[0] += char
            gathered[2] += width
            continue
        if gathered:
            yield gathered
        gathered = [char, column, width, look]
    if gathered:
        yield gathered


def joins(text, char):
    if not (text[0] + char).isascii():
        return False
    if char == " ":
        return not text.endswith(" ") or text.isspace()
    return not text.isspace()


def number(value):
    return f"{value:.1f}".removesuffix(".0")


def shape(char, x, y, ink):
    """Draws a character that has to meet its neighbours; None for one that is text."""
    middle, center = number(x + CELL / 2), number(y + LINE / 2)
    left, right, top, bottom = number(x), number(x + CELL), number(y), number(y + LINE)
    if char in BOXES:
        ends = {"u": f"V{top}", "d": f"V{bottom}", "l": f"H{left}", "r": f"H{right}"}
        path = "".join(f"M{middle} {center}{ends[side]}" for side in BOXES[char])
        return f'<path d="{path}" stroke="{ink}" fill="none"/>'
    if char in "█░":
        thin = ' fill-opacity=".25"' if char == "░" else ""
        return f'<path d="M{left} {number(y + 3)}H{right}V{number(y + LINE - 3)}H{left}z" fill="{ink}"{thin}/>'
    if char in "▶▸":
        half = 4 if char == "▶" else 3
        return f'<path d="M{number(x + 1)} {number(y + LINE / 2 - half)}L{number(x + CELL - 1)} {center}L{number(x + 1)} {number(y + LINE / 2 + half)}z" fill="{ink}"/>'
    return None


def draw(text, column, width, style, row):
    """Returns the SVG of a run, its paper and its ink."""
    x, y = EDGE + column * CELL, BAR + EDGE / 2 + row * LINE
    ink, paper = style.colors()
    under = ""
    if paper:
        under = f'<path d="M{number(x)} {number(y)}h{number(width * CELL)}v{LINE}h-{number(width * CELL)}z" fill="{paper}" shape-rendering="crispEdges"/>'
    faint = ' opacity=".62"' if "faint" in style.marks else ""
    drawn = shape(text, x, y, ink) if len(text) == 1 else None
    if drawn:
        return under, drawn.replace("/>", faint + "/>")
    bare = text.strip(" ")
    if not bare:
        return under, ""
    width, text = width - (len(text) - len(bare)), bare
    how = "".join(f" {word}" for mark, word in (
        ("bold", 'font-weight="bold"'), ("italic", 'font-style="italic"'), ("underline", 'text-decoration="underline"'), ("strike", 'text-decoration="line-through"'),
    ) if mark in style.marks)
    fill = "" if ink == INK else f' fill="{ink}"'
    return under, f'<text x="{number(x)}" y="{number(y + 14.5)}" textLength="{number(width * CELL)}"{fill}{how}{faint}>{escape(text)}</text>'


def picture(title, screen):
    lines = screen.split("\n")
    while lines and not re.sub(r"\x1b\[[0-9;]*m", "", lines[-1]).strip():
        lines.pop()
    style, below, above, widest = Style(), [], [], 0
    for row, line in enumerate(lines):
        for text, column, width, look in runs(line, style):
            under, drawn = draw(text, column, width, look, row)
            if under or drawn:
                widest = max(widest, column + width)
            below.append(under)
            above.append(drawn)
    wide, high = widest * CELL + 2 * EDGE, BAR + EDGE * 1.5 + len(lines) * LINE
    lights = "".join(f'<circle cx="{20 + 18 * i}" cy="18" r="5.5" fill="{shade}"/>' for i, shade in enumerate(("#ff5f57", "#febc2e", "#28c840")))
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(wide)} {number(high)}" width="{number(wide)}" height="{number(high)}" role="img">'
    yield f"<title>{escape(title)}</title>"
    yield f'<rect x=".5" y=".5" width="{number(wide - 1)}" height="{number(high - 1)}" rx="9.5" fill="{PAPER}" stroke="{RIM}"/>'
    yield lights
    yield f'<g font-family="ui-monospace,SFMono-Regular,\'SF Mono\',Menlo,Consolas,\'Liberation Mono\',\'DejaVu Sans Mono\',monospace" font-size="{SIZE}" fill="{INK}">'
    yield f'<text x="{number(wide / 2)}" y="23" text-anchor="middle" font-size="13" opacity=".62">{escape(title)}</text>'
    yield from (drawn for drawn in below + above if drawn)
    yield "</g>\n</svg>"


if __name__ == "__main__":
    print("\n".join(picture(sys.argv[1], sys.stdin.read())))
