"""From matplotlib figures to SVG for the inside of an HTML page: text stays text, and colours are the page's CSS variables."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches from side to side: as wide as the page's column, and as a phone.
WIDE, NARROW = 8.6, 3.5
#: Steps of the heat map's colours to either side of its middle.
HEAT_STEPS = 6
#: CSS variables of the page (``--ink``, ...) that a figure's colours stand for.
NAMES = ("ink", "muted", "grid", "surface", "before", "after", "test", "loss",
         *(f"heat{step}" for step in range(-HEAT_STEPS, HEAT_STEPS + 1)))
#: A colour that matplotlib takes, for each of them.
PAINT = {name: f"#0a00{number:02x}" for number, name in enumerate(NAMES)}

_PLACEHOLDER = re.compile("#0a00([0-9a-f]{2})")
_FONT = re.compile(r"font-family: [^;\"]+")
#: Metadata of the file, the style sheet that would hold for the whole page, and the size, which the page decides.
_LEFT_OUT = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.S)
_HEAD = re.compile(r"<svg [^>]*?viewBox=\"([^\"]+)\"[^>]*>")
_IDS = re.compile(r'\b(id="|url\(#|href="#)')
_DECIMALS = re.compile(r"(\d+\.\d{2})\d+")
#: Texts are left as they are.
_TAG = re.compile(r"<[^<>]*>")


@contextmanager
def page_style() -> Iterator[None]:
    """Within it, what is drawn has the page's colours and fonts."""
    import matplotlib

    ink, muted = PAINT["ink"], PAINT["muted"]
    with warnings.catch_warnings(), matplotlib.rc_context({
        "svg.fonttype": "none", "svg.hashsalt": "tadshrink", "font.family": "DejaVu Sans", "font.size": 9, "text.color": ink,
        "text.parse_math": False, "axes.edgecolor": PAINT["grid"], "axes.labelcolor": muted, "axes.titlesize": 9, "axes.titlelocation": "left",
        "axes.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "xtick.color": PAINT["grid"],
        "ytick.color": PAINT["grid"], "xtick.labelcolor": muted, "ytick.labelcolor": muted, "xtick.labelsize": 8, "ytick.labelsize": 8,
        "grid.color": PAINT["grid"], "grid.linewidth": 0.7, "legend.frameon": False, "legend.fontsize": 8, "legend.labelcolor": ink,
        "lines.linewidth": 1.8, "hatch.color": PAINT["grid"], "axes.formatter.useoffset": False,
    }):
        # The page's own font has them: text stays text.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


def new_figure(wide: bool, height: float) -> Figure:
    """An empty figure of so many inches. Not by pyplot, which would choose a window system for the whole process."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDE if wide else NARROW, height), layout="constrained")


def bare(axis: Axes, *sides: str) -> None:
    """Leave out these sides of a frame, and the ticks (not their labels) of both axes."""
    axis.spines[list(sides)].set_visible(False)
    axis.tick_params(length=0)


def on_the_right(axis: Axes, labels: Sequence[str]) -> None:
    """A text for each row, beside the frame."""
    right = axis.secondary_yaxis("right")
    right.set_yticks(range(len(labels)), labels, color=PAINT["ink"])
    bare(right, "right")


def to_svg(figure: Figure, prefix: str, label: str) -> str:
    """An ``<svg>`` element.

    Args:
        prefix: of all ids within it, which are to be unique in a page.
        label: read out in place of the picture; as HTML attribute, escaped already.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = _LEFT_OUT.sub("", buffer.getvalue())
    head = _HEAD.search(text)
    assert head is not None
    body = _TAG.sub(lambda found: _for_page(found[0], prefix), text[head.end():])
    return f'<svg viewBox="{head[1]}" role="img" aria-label="{label}" style="stroke-linejoin: round">{body.strip()}'


def _for_page(tag: str, prefix: str) -> str:
    """A tag with the page's colours and font, and ids that are unique in it."""
    tag = _PLACEHOLDER.sub(lambda found: f"var(--{NAMES[int(found[1], 16)]})", tag)
    return _IDS.sub(rf"\1{prefix}-", _FONT.sub("font-family: var(--font)", _DECIMALS.sub(r"\1", tag)))
