"""The page: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from tadshrink import __version__
from tadshrink.checkpoint.foreign.summary import IMPORT
from tadshrink.report import tables
from tadshrink.report.commands import before_run, history_lines, run_line
from tadshrink.report.figures import PLOTS, section
from tadshrink.report.findings import Findings
from tadshrink.report.headline import headline
from tadshrink.report.html import Html, code, details, joined, pairs, table, tag
from tadshrink.report.missing import missing
from tadshrink.report.wording import UNKNOWN, duration, listed, number, short
from tadshrink.run_settings import RunSettings

#: Letters of a checksum where it only tells one from another.
_SHORT = 12


def render(findings: Findings) -> str:
    """The whole page as text."""
    found = [(key, title, body) for key, title, body in _sections(findings) if body is not None]
    body = joined(tag("section", tag("h2", title), content, id=key) for key, title, content in found)
    links = tag("nav", *(tag("a", title, href=f"#{key}") for key, title, _ in found), aria_label="Sections")
    values = {"title": tag("title", f"{findings.title} · tadshrink report"), "style": _resource("page.css"),
              "head": joined([tag("h1", findings.title), tag("p", findings.summary, class_="summary")]), "headline": headline(findings),
              "links": links, "body": body, "foot": tag("p", f"Written by tadshrink {__version__} from {findings.source.absolute()}.")}
    return Template(_resource("page.html")).substitute({key: str(value) for key, value in values.items()})


def _sections(findings: Findings) -> Iterator[tuple[str, str, Html | None]]:
    """Anchor, title and content, in the order of the page."""
    yield "models", "All models", tables.models(findings)
    for plot in PLOTS:
        yield plot.key, plot.title, section(plot, findings)
    yield "configuration", "Configuration", _configuration(findings)
    yield "history", "History", _history(findings)
    yield "checksums", "Checksums", _checksums(findings)
    yield "commands", "The same again", _commands(findings)
    yield "missing", "Not measured", tag("ul", *(tag("li", text) for text in missing(findings)))


def _resource(name: str) -> str:
    return (files("tadshrink.report") / name).read_text(encoding="utf-8")


def _configuration(findings: Findings) -> Html:
    plan = findings.plan
    rows = [("model", findings.summary), ("classes", f"{len(findings.classes)}: {', '.join(findings.classes)}"),
            ("dropped, in this order", listed(findings.dropped) or "nothing")]
    if plan is None:
        return pairs(rows)
    given = {"dataset": plan["dataset"], "its folder": plan.get("root"), "device": plan["device"], **_changed(plan["settings"])}
    rows += [(name, UNKNOWN if value is None else _written(value)) for name, value in given.items()]
    took = [tag("p", f"The steps took {duration(sum(sum(step.seconds.values()) for step in findings.steps))}."), tables.seconds(findings)]
    return joined([pairs(rows), tag("p", "All other settings are the defaults."), details("All settings", code(_json(plan["settings"]))),
                   details("Dataset", code(_json(plan["data"]))), details("Architecture", code(_json(plan["architecture"]))),
                   *([details("Time of each stage", *took)] if findings.steps else [])])


def _changed(settings: dict[str, Any]) -> dict[str, Any]:
    """The target, and what differs from the defaults, with sections as ``align.epochs``."""
    default = RunSettings().model_dump(mode="json")
    flat, usual = _flat(settings), _flat(default)
    return {"target": settings["target"]} | {name: value for name, value in flat.items() if usual.get(name, value) != value}


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    nested = {f"{name}.{key}": item for name, value in settings.items() if isinstance(value, dict) for key, item in value.items()}
    return {name: value for name, value in settings.items() if not isinstance(value, dict)} | nested


def _history(findings: Findings) -> Html | None:
    if not findings.history:
        return None
    rows = [[place, entry["command"], _metrics(entry["metrics"]), _hash(entry["parent"]), entry["version"]]
            for place, entry in enumerate(findings.history, 1)]
    return joined([tag("p", "What the commands that made this model recorded in it, oldest first."),
                   table(["", "command", "result", "read weights", "version"], rows, "text"),
                   details("With all arguments", code(_json(findings.history)))])


def _metrics(metrics: dict[str, Any]) -> str:
    """In short."""
    told = {key: value for key, value in metrics.items() if not isinstance(value, dict) and key != "curve"}
    parts = [f"{key} {_written(value)}" for key, value in told.items()]
    if metrics.get("curve"):
        parts.append("losses " + ", ".join(f"{name} {short(value)}" for name, value in metrics["curve"][-1].items()))
    heldout = metrics.get("heldout") or {}
    return "; ".join(parts + [f"held-out {key} {number(heldout[key])}" for key in ("average_map", "top1") if key in heldout])


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return short(value) if isinstance(value, float) else str(value)


def _hash(checksum: str | None) -> Html | str:
    return tag("code", checksum[:_SHORT], title=checksum) if checksum else UNKNOWN


def _checksums(findings: Findings) -> Html:
    rows = [(model.name, model.checksum) for model in findings.models if model.checksum]
    final = (findings.file, findings.checksum)
    # A file whose last entry is its import is the other code base's own.
    foreign = [entry["command"] for entry in findings.history[-1:]] == [IMPORT]
    read = "The file is of another code base and holds none: this is of the weights as they were read." if foreign else \
        "The file was read and its content verified."
    said = "As told by the run: " + ("yes." if findings.sound else "no.") if findings.final is not None else ""
    return joined([tag("p", f"SHA-256 of the weights (names, types, shapes and values). {read} {said}"),
                   pairs((name, tag("code", checksum, class_="hash")) for name, checksum in [*rows, final])])


def _commands(findings: Findings) -> Html | None:
    if findings.plan is None:
        return code("\n".join(history_lines(findings.history))) if findings.history else None
    base = findings.baseline.checksum if findings.baseline is not None else None
    before = before_run(findings.history, base)
    folder = findings.source
    lines = [run_line(findings.plan, str(folder / "baseline/model.pth"), f"{folder}-again")]
    parts = [code("\n".join(lines))]
    if before:
        parts = [tag("p", "How the baseline was made:"), code("\n".join(history_lines(before))), tag("p", "The run:"), *parts]
    if by_hand := findings.history[len(before):]:
        parts += [tag("p", f"The same by hand, for the same weights bit for bit on the same device ({findings.plan['device']}) with as many "
                           "processes; BASE.pth is baseline/model.pth of the work dir:"),
                  code("\n".join(history_lines(by_hand, "BASE.pth")))]
    return joined(parts)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def write_page(findings: Findings, output: Path) -> int:
    """Write it; returns its bytes."""
    from tadshrink.files import write_text

    text = render(findings)
    write_text(output, text)
    return len(text.encode())
