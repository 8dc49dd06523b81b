"""What the shell offers after the tab key: files that fit, names, and block numbers. Nothing heavy is imported, and nothing is ever told."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

Complete = Callable[[str], list[str]]
CHECKPOINTS = (".pth", ".pt", ".ckpt", ".pth.tar")
YAML = (".yaml", ".yml")
#: Bytes of a file in the form before torch 1.6 in which the names of its tensors are looked for.
OLD_HEAD = 1 << 20
#: In the names of tensors: a block, and a part of it.
_BLOCK = re.compile(rb"(blocks|stem)\.(\d+)\.(\w+)")
_HALVES = {"attention": b"attn", "mlp": b"mlp"}


def files(*endings: str, names: Callable[[], Iterable[str]] = tuple) -> Complete:
    """Files with these endings and folders, after the names that can stand in their place."""

    def complete(incomplete: str) -> list[str]:
        try:
            return [*(name for name in names() if name.startswith(incomplete)), *_paths(incomplete, endings)]
        except OSError:
            return []

    return complete


def _paths(typed: str, endings: tuple[str, ...]) -> list[str]:
    """A folder that is the only choice is looked into, as the shell would end the word after it."""
    head, tail = os.path.split(typed)
    hidden, found = tail.startswith("."), list[str]()
    for entry in sorted(os.scandir(os.path.expanduser(head) or "."), key=lambda entry: entry.name):
        if not entry.name.startswith(tail) or (entry.name.startswith(".") and not hidden):
            continue
        if entry.is_dir():
            found.append(os.path.join(head, entry.name, ""))
        elif entry.name.lower().endswith(endings):
            found.append(os.path.join(head, entry.name))
    if len(found) == 1 and found[0].endswith(os.sep):
        return _paths(found[0], endings) or found
    return found


def choices(values: Iterable[str]) -> Complete:
    """One of these."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


def _datasets() -> list[str]:
    from tadshrink.data.names import builtin_names

    return builtin_names()


def _clips() -> list[str]:
    return ["synthetic-clips"]


checkpoints, models = files(*CHECKPOINTS), files(*CHECKPOINTS, ".onnx")
datasets, clips = files(*YAML, names=_datasets), files(*YAML, ".csv", names=_clips)
#: What ``data check`` takes.
checked = files(*YAML, ".json", ".csv", ".gz", names=lambda: [*_datasets(), *_clips()])
yamls = files(*YAML)


def blocks(context: typer.Context, incomplete: str) -> list[str]:
    """Blocks of the checkpoint that stands before on the line, after those that are named already; halves after a full stop."""
    *named, last = incomplete.split(",")
    # Words are no parameters yet where the option before the cursor still lacks its value.
    words = [context.params.get("checkpoint"), *context.args]
    path = next((os.path.expanduser(word) for word in words if word and os.path.isfile(os.path.expanduser(word))), None)
    try:
        there = _blocks(Path(path)) if path else {}
    except Exception:
        # Damaged archives fail in every way, and nobody who presses a key wants to read about it.
        return []
    offered = [name for name in (_halves(there) if "." in last else map(str, there)) if name.startswith(last) and name not in named]
    return [",".join([*named, name]) for name in offered]


def _blocks(path: Path) -> dict[int, set[bytes]]:
    """The parts of each block, by the names of the tensors in a file. They are searched for as text: nothing in the file is run."""
    found: dict[bytes, dict[int, set[bytes]]] = {}
    for stack, number, part in _BLOCK.findall(_names(path)):
        found.setdefault(stack, {}).setdefault(int(number), set()).add(part)
    return dict(sorted(found.get(b"blocks", found.get(b"stem", {})).items()))


def _names(path: Path) -> bytes:
    """The part of a file that holds the names of its tensors."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return file.read(OLD_HEAD)
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))


def _halves(there: dict[int, set[Any]]) -> Iterator[str]:
    return (f"{number}.{half}" for number, parts in there.items() for half, part in _HALVES.items() if part in parts)
