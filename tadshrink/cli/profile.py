"""``tadshrink profile``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadshrink.cli import options
from tadshrink.cli.console import ConsoleReporter, emit, say, table

if TYPE_CHECKING:
    from tadshrink.models.units import Unit

NAME = "profile"
EXAMPLE = "tadshrink profile base.pth"


def command(
    checkpoint: options.Checkpoint,
    runs: Annotated[int | None, typer.Option(min=1, help="Timed runs, after 3 to warm up; without it 20, or what a minute allows.")] = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Parameters, MACs by part and by block, latency and peak memory for one window."""
    from tadshrink.models.units import left_of, whole
    from tadshrink.stages.profile import profile

    result = profile(checkpoint, runs, device, ConsoleReporter())
    data = result.to_json()
    blocks = whole(left_of(result.architecture.block_count, result.dropped))
    _print(str(checkpoint), data, blocks, result.memory.measured)
    emit(json, data)


def _print(name: str, data: dict[str, Any], blocks: list[Unit], measured: str) -> None:
    macs, latency = data["macs"], data["latency_ms"]
    total = macs["total"]
    table(f"{name}: MACs of one window {latency['input_shape']}", ["part", "MMACs", "share"],
          [[part.replace("_", " "), f"{value / 1e6:.1f}", f"{value / total:.1%}"]
           for part, value in {**macs["parts"], **{f"block {index}": value for index, value in zip(blocks, macs["per_block"], strict=True)},
                               "backbone": macs["backbone"], "head": macs["head"], "total": total}.items()])
    skipped = ", ".join(f"{op} ({times}x)" for op, times in macs["not_counted"].items())
    say(f"not counted: {skipped or 'nothing'}")
    say(f"parameters {data['params']:,}; dropped blocks: {', '.join(map(str, data['dropped'])) or 'none'}")
    say(f"latency {latency['median']:.1f} ms median, {latency['p95']:.1f} ms p95 over {latency['runs']} runs on {latency['device']}, "
        f"{latency['dtype']}")
    say(f"peak memory {data['peak_memory'] / 2**20:.0f} MiB ({measured})")
