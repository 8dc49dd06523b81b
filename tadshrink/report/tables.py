"""The numbers behind the figures, as tables."""

from __future__ import annotations

from collections.abc import Iterator

from tadshrink.report.findings import Findings, Model
from tadshrink.report.html import Html, joined, tag
from tadshrink.report.html import table as html_table
from tadshrink.report.plots import classes as class_plot
from tadshrink.report.wording import amount, duration, listed, number, short, times


def models(findings: Findings) -> Html | None:
    """A row for each model of a run."""
    base = findings.baseline
    if base is None:
        return None
    columns = ["", "dropped", "blocks", "held-out mAP", "test mAP", "speed-up", "MACs", "of base", "parameters", "time, ms"]
    said = "Each speed-up was measured in turn with the baseline; times of different rows cannot be compared."
    return joined([html_table(columns, [_model(model, base, findings) for model in findings.models]), tag("p", said, class_="said")])


def _model(model: Model, base: Model, findings: Findings) -> list[object]:
    is_final = findings.final is not None and model.kept and model.checksum == findings.final.checksum
    tested = findings.final if is_final else model
    share = f"{number(100 * model.macs / base.macs, 1)} %" if model.macs and base.macs else number(None)
    test = number(tested.test["average_map"]) if tested.test else ""
    heldout = number(model.heldout["average_map"]) if model.heldout else number(None)
    return [f"{model.name}{'' if model.kept else ' (not kept)'}", listed(model.dropped), model.blocks, heldout, test, times(model.speedup),
            amount(model.macs), share, amount(model.params), number(model.latency_ms, 1)]


def rankings(findings: Findings) -> Iterator[Html]:
    """A table for each selection, best to drop first."""
    for step in findings.steps:
        if step.ranking is None:
            continue
        rows = [[listed(item.get("units", [item["block"]])), short(item["score"]),
                 number(None) if item["change"] is None else short(item["change"], sign=True), item.get("stopped") or ""]
                for item in step.ranking["ranking"]]
        whole = step.ranking["baseline"]
        told = f"{step.model.name}: {step.ranking['metric']}{'' if whole is None else f', {short(whole)} with all'}"
        yield tag("h4", told)
        yield html_table(["without", step.ranking["metric"], "change", "stopped by"], rows)


def tious(findings: Findings) -> Html | None:
    """mAP at each tIoU, of all models on the held-out videos and of the first and last one on the test videos."""
    rows = [[f"{model.name}, held-out", model.heldout] for model in findings.models if model.heldout]
    rows += [[f"{model.name}, test", model.test] for model in (findings.baseline, findings.final) if model is not None and model.test]
    if not rows:
        return None
    columns = ["average mAP, %", "mean", *rows[0][1]["map"]]
    return html_table(columns, [[name, number(told["average_map"]), *map(number, told["map"].values())] for name, told in rows])


def classes(findings: Findings) -> Html:
    """AP of every class."""
    rows = [[name, number(before), number(after), number(after - before, sign=True)] for name, before, after in class_plot.changes(findings)]
    return html_table(["class", "baseline", "final", "change"], rows)


def losses(findings: Findings) -> Html:
    """Mean losses of every epoch."""
    names = list(dict.fromkeys(name for step in findings.steps for epoch in step.curve for name in epoch))
    rows = [[step.model.name, place, *(short(epoch[name]) if name in epoch else "" for name in names)]
            for step in findings.steps for place, epoch in enumerate(step.curve, 1)]
    return html_table(["after", "epoch", *names], rows)


def seconds(findings: Findings) -> Html:
    """How long every stage took."""
    stages = list(dict.fromkeys(name for step in findings.steps for name in step.seconds))
    rows = [[step.model.name, *(duration(step.seconds[name]) if name in step.seconds else "" for name in stages),
             duration(sum(step.seconds.values()))] for step in findings.steps]
    return html_table(["", *("evaluate" if name == "heldout" else name for name in stages), "all"], rows)


def parts(findings: Findings) -> Html | None:
    """Multiply-adds by part of a model."""
    if findings.cost is None:
        return None
    return html_table(["part", "MACs", "share"], [[name, amount(macs), f"{number(100 * macs / findings.cost.total, 1)} %"]
                                                  for name, macs in findings.cost.parts.items()])
