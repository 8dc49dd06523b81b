"""``tadshrink doctor``."""

from __future__ import annotations

import typer

from tadshrink.cli import options
from tadshrink.cli.console import emit, fail, say

NAME = "doctor"
EXAMPLE = "tadshrink doctor --json"


def command(json: options.Json = False) -> None:
    """Check this machine: Python, torch, GPU, ONNX Runtime, video decoders, space and memory; and say what any missing part means.

    Ends with 0 unless something essential is missing.
    """
    from tadshrink.stages.doctor import doctor

    result = doctor()
    width = max(len(check.name) for check in result.checks)
    for check in result.checks:
        say(f"{'ok' if check.ok else 'lack':<4}  {check.name:<{width}}  {check.found}{f'; {check.lack}' if check.lack else ''}")
    emit(json, result.to_json())
    if result.broken:
        fail(f"needed, and not here: {', '.join(result.broken)}. Install tadshrink again, in an environment of its own")
        raise typer.Exit(2)
