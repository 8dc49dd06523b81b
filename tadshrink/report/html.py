"""Pieces of HTML. Whatever is not made here is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Html:
    """Text that is HTML already."""

    text: str

    def __str__(self) -> str:
        return self.text


def safe(value: object) -> str:
    """A value as HTML: text is escaped, :class:`Html` is left as it is."""
    return value.text if isinstance(value, Html) else escape(str(value))


def tag(name: str, *content: object, **attributes: str) -> Html:
    """An element. An underscore at the end of an attribute's name is left out (``class_``)."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{''.join(map(safe, content))}</{name}>")


def joined(parts: Iterable[Html]) -> Html:
    """One after the other."""
    return Html("\n".join(part.text for part in parts))


def table(columns: Sequence[object], rows: Iterable[Sequence[object]], kind: str = "numbers") -> Html:
    """Scrolls within itself where it is too wide.

    Args:
        kind: "numbers" aligns all but the first column to the right, "text" none.
    """
    head = tag("tr", *(tag("th", column, scope="col") for column in columns))
    body = (tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest)) for first, *rest in rows)
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body), class_=kind), class_="scroll", tabindex="0")


def pairs(rows: Iterable[tuple[object, object]]) -> Html:
    """A list of names and values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows))


def details(summary: str, *content: object) -> Html:
    """What is seen on request."""
    return tag("details", tag("summary", summary), *content)


def code(text: str) -> Html:
    """Lines as they are."""
    return tag("pre", tag("code", text), tabindex="0")
