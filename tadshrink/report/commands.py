"""From what a run or a history recorded to the commands that make the same."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from tadshrink.compress.prune_settings import PruneSettings
from tadshrink.compress.select_settings import SelectOptions, SelectSettings
from tadshrink.compress.settings import AlignSettings
from tadshrink.recognition.settings import ClipTrainSettings, ModuleTrainSettings
from tadshrink.run_settings import RENAMED, RunSettings
from tadshrink.settings import Settings
from tadshrink.training.settings import TrainSettings

#: Options of datasets, which every command has.
_DATA = {"dataset": None, "root": None, "allow_missing": False}
#: Recorded, and decided by other things that are.
_DERIVED = ("init_checksum", "teacher", "early_epochs")
#: Recorded together, and options of their own.
_NESTED = ("sfc", "clip_config")


@dataclass(frozen=True)
class Form:
    """How what was recorded of a command is given on its command line: only what differs from its default.

    Attributes:
        settings: class of the settings, whose fields are options.
        more: other options and their defaults.
        hidden: fields that are no options.
        names: of options that are not those of what was recorded.
    """

    settings: type[Settings] = Settings
    more: Mapping[str, Any] = field(default_factory=dict)
    hidden: Collection[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def defaults(self) -> dict[str, Any]:
        """Of all that may have been recorded."""
        return {name: _plain(info.default) for name, info in self.settings.model_fields.items()} | _DATA | dict(self.more)


_TRAIN_ONLY = ("accumulate", "weight_decay", "warmup", "clip", "ema", "augment")
FORMS = {
    "train": Form(TrainSettings, {"arch": "videomae-nano", "init": None}, hidden=_TRAIN_ONLY),
    "select": Form(SelectOptions, {"split": "heldout"}),
    "drop": Form(more={"blocks": None, "count": 1, "span": None}),
    "align": Form(AlignSettings),
    "merge": Form(more={"tolerance": 1e-4}, hidden=("allow_missing",)),
    "prune": Form(PruneSettings),
    # How clips are drawn depends on the architecture where it is not given.
    "sfc base": Form(ClipTrainSettings, {"arch": "recogniser-nano", "init": None, "frames": None, "stride": None, "size": None}),
    "sfc train": Form(ModuleTrainSettings, {"split": None, "clips": 10, "ratio": 0.1, "pool": "topk", "topk": None, "width": None,
                                            "attention": "time", "crops": 3, "kernel": [3, 1, 1]},
                      hidden=("kernel",), names={"split": "split-at"}),
}


def command_line(command: str, arguments: Mapping[str, Any], reads: str | None, writes: str, teacher: str | None = None) -> str:
    """The command of a history entry; what it recorded and cannot be given stands behind it as a comment."""
    form = FORMS[command]
    flat = arguments | {name: value for part in _NESTED for name, value in arguments.get(part, {}).items()}
    own = {name: value for name, value in flat.items() if name not in (*_DERIVED, *_NESTED)}
    given = _given(own, form)
    options = [word for name, value in given.items() if name not in form.hidden for word in _words(form.names.get(name, name), value)]
    words = ["tadshrink", *command.split(), *([reads] if reads else []), *(["--teacher", teacher] if teacher else []), *options, "-o", writes]
    strange = own.keys() - form.defaults().keys()
    left = {name: own[name] for name in sorted(strange | (given.keys() & set(form.hidden))) if own[name] is not None}
    return shlex.join(words) + (f"  # recorded as well: {', '.join(f'{name} {value}' for name, value in left.items())}" if left else "")


def history_lines(history: Sequence[Mapping[str, Any]], source: str = "model.pth") -> list[str]:
    """One command for each entry of a history, each reading what the one before has written.

    Args:
        source: name of the file that the first one reads, if it reads one.
    """
    lines: list[str] = []
    current, files = source, dict[str, str]()
    for number, entry in enumerate(history, 1):
        command, arguments = entry["command"], entry["arguments"]
        if entry["parent"]:
            files.setdefault(entry["parent"], current)
        if command not in FORMS:
            lines.append(f"# {current} was {_ORIGIN.get(command, command)}: {_told(arguments)}")
            continue
        written = f"{number}-{command.replace(' ', '-')}.pth"
        teacher = files.get(arguments.get("teacher", ""), "BASE.pth") if command == "align" else None
        lines.append(command_line(command, arguments, current if entry["parent"] else None, written, teacher))
        current = written
    return lines


#: Entries that are not of a command.
_ORIGIN = {"import": "read from a file of another code base", "set": "read with --set"}


def run_line(plan: Mapping[str, Any], baseline: str, work_dir: str) -> str:
    """The ``tadshrink run`` that a work dir was made by."""
    settings = plan["settings"]
    select, align = settings.get("select", {}), settings.get("align", {})
    parts = [(Form(RunSettings), {name: value for name, value in settings.items() if name not in ("select", "align")}),
             (Form(SelectSettings, names=RENAMED), {name: value for name, value in select.items() if name != "seed"}),
             (Form(AlignSettings), align)]
    words = ["tadshrink", "run", baseline]
    words += [word for name in _DATA if plan.get(name) for word in _words(name, plan[name])]
    words += ["--target", str(settings["target"])]
    # "cuda:1 bfloat16": what was chosen there may not be what is chosen here.
    words += ["--device", plan["device"].split()[0]] if plan.get("device") else []
    for form, given in parts:
        known = {name: value for name, value in given.items() if name in form.defaults() and name != "target"}
        words += [word for name, value in _given(known, form).items() for word in _words(form.names.get(name, name), value)]
    # One option is for both seeds; only a recipe tells them apart.
    apart = select.get("seed", align.get("seed")) != align.get("seed")
    return shlex.join([*words, "--work-dir", work_dir]) + (f"  # recorded as well: select.seed {select['seed']}" if apart else "")


def before_run(history: Sequence[Mapping[str, Any]], baseline: str | None) -> list[Mapping[str, Any]]:
    """What made the model that a run began with, which has this checksum."""
    return list(takewhile(lambda entry: entry["parent"] != baseline or entry["command"] not in ("select", "drop", "prune"), history))


def _given(arguments: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """What differs from its default."""
    defaults = form.defaults()
    return {name: value for name, value in arguments.items() if name in defaults and value is not None and value != defaults[name]}


def _words(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if isinstance(value, list | tuple):
        return [flag, ",".join(map(str, value))]
    return [flag, str(value).removesuffix(".0") if isinstance(value, float) else str(value)]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _told(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in arguments.items() if value not in (None, {}, "")) or "nothing more is known"

