"""The plan of ``tadshrink run --dry-run`` as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tadshrink.cli.console import say, table

if TYPE_CHECKING:
    from tadshrink.planning.estimate import Seconds
    from tadshrink.planning.plan import RunPlan
    from tadshrink.planning.stages import Stage

#: Settings that are always shown, by section; of the others, those that are not as usual.
SHOWN = {"run": ("schedule", "unit", "tolerance"), "select": ("metric", "race"), "align": ("heal", "epochs", "batch_size", "lr", "seed")}


def print_plan(plan: RunPlan) -> None:
    """Everything that is in the plan; of steps that are alike, the first."""
    drops, latency = plan.drops, plan.speed
    say(f"plan, nothing is written: {drops.reason}")
    about = "about " if drops.guessed else ""
    here, left = (plan.model["blocks"] - gone if drops.unit == "blocks" else "" for gone in (0, drops.count))
    dropped = _share(drops.macs_after + drops.macs_pruned, drops.macs_before)
    rows = [["now", here, f"{drops.macs_before / 1e6:.1f}", f"{latency.before * 1000:.1f}"],
            [f"without {about}{drops.count}", left, dropped, f"{latency.after * 1000:.1f}"]]
    rows += [["and pruned", left, _share(drops.macs_after, drops.macs_before), "not measured"]] if drops.macs_pruned else []
    table("One window", ["", plan.drops.unit, "MMACs", "ms, measured"], rows)
    if plan.splits:
        table(plan.dataset, ["split", "in the file", "videos", "actions", "windows"],
              [[name, size.subset, size.videos, size.actions, f"{'' if size.opened == size.videos else 'about '}{size.windows}"]
               for name, size in plan.splits.items()])
    say(f"settings: {', '.join(_settings(plan))}")
    if plan.to_make:
        say(f"{plan.dataset} is not here: it would be rendered to {plan.to_make} first. For stages and times: tadshrink data make "
            f"{plan.dataset}, and --dry-run again")
        return
    say(f"stages, in {plan.work_dir}; the result of each is written as NAME.json there:")
    for line in _stages(plan):
        say(f"  {line}")
    _say_times(plan)


def _share(macs: int, whole: int) -> str:
    return f"{macs / 1e6:.1f} ({macs / whole:.1%})"


def _say_times(plan: RunPlan) -> None:
    if plan.continues:
        say("an interrupted run is there: it would go on with " + plan.next.name if plan.next else "the run is finished: nothing is left to do")
    if plan.next and plan.quick and plan.seconds:
        unknown = [stage.name for stage in plan.stages if not stage.done and stage.seconds is None]
        without = f", without {', '.join(unknown)}" if unknown else ""
        say(f"in all {_written(plan.seconds)}{without}. Rough: from {plan.quick.words()}; as if the machine stays as busy as it is now. A run "
            "whose accuracy does not come back ends earlier")


def _settings(plan: RunPlan) -> Iterator[str]:
    """``key value`` of those that matter."""
    told, usual = (_sections(settings.model_dump(mode="json")) for settings in (plan.settings, type(plan.settings)()))
    for section, keys in told.items():
        for key, value in keys.items():
            if key in SHOWN[section] or value != usual[section][key]:
                yield f"{key} {value}"


def _sections(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    own = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    return {"run": own, "select": settings["select"], "align": settings["align"]}


def _stages(plan: RunPlan) -> Iterator[str]:
    """Each stage of the baseline, of the first step of each kind that is left, and of the final model; the other steps in one line each."""
    folders: dict[str, list[Stage]] = {}
    for stage in plan.stages:
        folders.setdefault(stage.name.split("/")[0] if stage.name.startswith("step-") else stage.name, []).append(stage)
    told = set[tuple[str, ...]]()
    for folder, stages in folders.items():
        left, kind = [stage for stage in stages if not stage.done], tuple(map(_kind, stages))
        if len(stages) == 1 or (left and kind not in told):
            told.add(kind)
            yield from map(_line, stages)
        else:
            yield f"{folder}: the same again, {_written(_sum(left))}" if left else f"{folder}: done"


def _kind(stage: Stage) -> str:
    """What is alike of the same stage of two steps; alignments may differ in how long they train."""
    name = stage.name.rpartition("/")[2]
    return stage.what if name == "align" else name


def _line(stage: Stage) -> str:
    models = [name for name in stage.writes if name.endswith(".pth")]
    writes = f", writes {' and '.join(models)}" if models else ""
    return f"{stage.name}: {stage.what}{writes}; {'done' if stage.done else _written(stage.seconds)}"


def _sum(stages: Sequence[Stage]) -> Seconds | None:
    known = [stage.seconds for stage in stages if stage.seconds]
    return sum(known[1:], known[0]) if known else None


def _written(seconds: Seconds | None) -> str:
    """From ... to, in the unit that fits."""
    if seconds is None:
        return "not known"
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds.high >= 2 * size:
            return f"{seconds.low / size:.1f} to {seconds.high / size:.1f} {unit}"
    return f"{seconds.low:.0f} to {seconds.high:.0f} s" if seconds.high >= 1 else "under 1 s"
