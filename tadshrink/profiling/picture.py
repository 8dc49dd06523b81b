"""The picture of a sweep."""

from __future__ import annotations

from pathlib import Path

from tadshrink.files import atomic_path
from tadshrink.plotting import check_picture
from tadshrink.profiling.sweep import Sweep

#: Title of the horizontal axis.
_AXIS = {"frames": "frames of a window", "batch": "windows of a batch", "dtype": "dtype"}


def plot_sweep(result: Sweep, path: Path) -> None:
    """Latency (median, and up to its 95 % quantile), frames per second and peak memory over the values, one panel each.

    Raises:
        UserError: see :func:`~tadshrink.plotting.check_picture`.
    """
    from matplotlib.figure import Figure

    check_picture(path)
    places, latencies = range(len(result.rows)), [row.latency for row in result.rows]
    # Not by pyplot, which would choose a window system for the whole process.
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    time, frames, memory = figure.subplots(1, 3)
    medians = [latency.median for latency in latencies]
    above = [latency.p95 - latency.median for latency in latencies]
    time.errorbar(places, medians, yerr=[[0] * len(medians), above], marker="o", capsize=3)
    time.set_title("latency, ms (median and 95 %)")
    frames.bar(places, [row.throughput.frames_per_second for row in result.rows], width=0.6)
    frames.set_title("frames per second")
    memory.bar(places, [row.memory.bytes / 2**20 for row in result.rows], width=0.6)
    memory.set_title("peak memory, MiB")
    for axis in (time, frames, memory):
        axis.set_xticks(places, [str(row.value) for row in result.rows])
        axis.set(xlabel=_AXIS[result.axis], ylim=(0, None))
        axis.grid(axis="y", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    latency = latencies[0]
    what = f"{latency.device}, {latency.dtype}, " if result.axis != "dtype" else f"{latency.device}, "
    figure.suptitle(f"{what}{latency.threads} threads, torch {latency.torch_version}", fontsize=9, parse_math=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
