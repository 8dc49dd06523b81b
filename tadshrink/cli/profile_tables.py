"""How ``tadshrink profile`` shows its results."""

from __future__ import annotations

from collections.abc import Sequence

from tadshrink.cli.console import say, table
from tadshrink.models.config import BackboneConfig
from tadshrink.models.units import left_of, whole
from tadshrink.profiling.conventions import CONVENTIONS
from tadshrink.profiling.depth_vs_width import DepthVsWidth, Variant
from tadshrink.profiling.latency import Latency, Ratio
from tadshrink.profiling.macs import MacsReport
from tadshrink.profiling.profile import Profile
from tadshrink.profiling.sweep import Sweep
from tadshrink.profiling.throughput import Throughput
from tadshrink.profiling.timing import Timing
from tadshrink.profiling.versus import Versus
from tadshrink.recognition.macs import RecogniserMacs
from tadshrink.recognition.profile import RecogniserProfile, Way
from tadshrink.recognition.recogniser import AT_ONCE


def print_profile(name: str, result: Profile) -> None:
    """MACs and parameters by part and block, what was not counted, and what was measured."""
    sampling = result.architecture.sampling
    video = isinstance(result.architecture.backbone, BackboneConfig)
    window = f"{sampling.window} cells" + (f", {sampling.frames} frames of {sampling.frame_size} pixels" if video else "")
    blocks = whole(left_of(result.architecture.block_count, result.dropped))
    table(f"{name}: MACs of one window ({window}), convention {result.macs.convention}", ["part", "GMACs", "share", "parameters"],
          _parts(result, [f"block {index}" for index in blocks]))
    _say_convention(result.macs)
    say(f"parameters {result.params:,}; dropped blocks: {', '.join(map(str, result.dropped)) or 'none'}")
    if result.timing is not None:
        _print_timing(result.timing)
    if result.versus is not None:
        _print_versus(name, result.versus)


def print_recogniser(name: str, result: RecogniserProfile) -> None:
    """MACs by part, then each way to classify a video with what it costs."""
    parts, clip = result.parts, result.architecture.clip
    what = "one pass over a video" if result.module_params else "one view"
    table(f"{name}: MACs of {what} (clips of {clip.frames} frames of {clip.size} pixels), convention {parts.convention}",
          ["part", "GMACs", "share"], [[part, f"{value / 1e9:.4f}", f"{value / parts.total:.1%}"] for part, value in
                                       [*parts.parts.items(), ("total", parts.total)]])
    _say_convention(parts)
    module = f", {result.module_params:,} of them in the module" if result.module_params else ""
    say(f"parameters {result.params:,}{module}; dropped blocks: {', '.join(map(str, result.dropped)) or 'none'}")
    first = result.ways[0]
    timed = first.latency is not None
    where = f", timed in turn over {first.latency.runs} runs on {_where(first.latency)}, {first.latency.dtype}" if first.latency else ""
    measured = ["ms", "at once", "speed-up (5-95 %)", "MiB", "less memory", "MiB, few", "less memory"] * timed
    table(f"{name}: ways to classify a video{where}", ["views", "GMACs", f"of {first.name}", *measured],
          [[way.name, f"{way.macs / 1e9:.3f}", f"{way.macs / first.macs:.1%}", *_measured(way)] for way in result.ways])
    if timed:
        say(f"ms: median of a video, without decoding, with as many views at once as are fastest; MiB: {first.memory.measured}, with all views "
            f"in one call; few: with {AT_ONCE} at a time, as the one pass always has its clips")


def _measured(way: Way) -> list[str]:
    if way.latency is None or way.memory is None or way.memory_few is None or way.faster is None:
        return []
    return [_times(way.latency)[0], str(way.at_once), _ratio(way.faster), f"{way.memory.bytes / 2**20:.0f}", f"{way.leaner:.1f}x",
            f"{way.memory_few.bytes / 2**20:.0f}", f"{way.leaner_few:.1f}x"]


def print_sweep(name: str, result: Sweep) -> None:
    """A row for each value."""
    first = result.rows[0]
    what = f"input {_shape(first.latency)}" + (f" for the first, {first.latency.dtype}" if result.axis != "dtype" else "")
    table(f"{name}: {result.axis}, timed in turn over {first.latency.runs} runs on {_where(first.latency)}, {what}",
          [result.axis, "GMACs", "ms", "p95", "frames/s", "x video", "MiB", "speed (5-95 %)"],
          [[row.value, f"{row.macs / 1e9:.1f}", *_times(row.latency)[:2], f"{row.throughput.frames_per_second:.0f}", _real_time(row.throughput),
            f"{row.memory.bytes / 2**20:.0f}", _ratio(row.speed)] for row in result.rows])
    say(f"GMACs of one window, convention full; ms: median of a batch; x video: seconds of video per second ({_assumed(first.throughput)}); "
        f"MiB: {first.memory.measured}; speed: frames per second, {result.axis} {first.value} is 1")


def print_depth_vs_width(name: str, result: DepthVsWidth) -> None:
    """A row for each detector."""
    full = result.variants[0]
    table(f"{name}: dropping blocks and pruning widths at equal MACs, timed in turn over {full.latency.runs} runs on {_where(full.latency)}, "
          f"{full.latency.dtype}, input {_shape(full.latency)}",
          ["detector", "GMACs", "saved", "params", "ms", "p95", "speed-up (5-95 %)"],
          [[_change(one), f"{one.macs / 1e9:.2f}", f"{1 - one.macs / full.macs:.1%}", f"{one.params / 1e6:.1f}M", *_times(one.latency)[:2],
            _ratio(one.speedup)] for one in result.variants])
    say("GMACs in convention full; ms: median; the speed-up is over the full detector, in turn")


def _parts(result: Profile, blocks: Sequence[str]) -> list[list[str]]:
    macs, params = result.macs, result.params_by_part
    rows = [(part.replace("_", " "), value, params.get(part)) for part, value in macs.parts.items()]
    rows += [(name, value, None) for name, value in zip(blocks, macs.per_block, strict=True)]
    rows += [("backbone", macs.backbone, None), ("head", macs.head, None), ("total", macs.total, result.params)]
    return [[name, f"{value / 1e9:.4f}" if macs.total < 1e10 else f"{value / 1e9:.1f}", f"{value / macs.total:.1%}",
             "" if count is None else f"{count:,}"] for name, value, count in rows]


def _say_convention(macs: MacsReport | RecogniserMacs) -> None:
    convention = CONVENTIONS[macs.convention]
    say(f"convention {convention.name}, multiply-adds: counts {convention.counts}; leaves out {convention.leaves_out}")
    say(f"not counted: {', '.join(f'{name} ({times}x)' for name, times in macs.not_counted.items()) or 'nothing'}")


def _print_timing(timing: Timing) -> None:
    latency, throughput = timing.latency, timing.throughput
    median, p95, least = _times(latency)
    say(f"latency {median} ms median, {p95} ms p95, {least} ms min over {latency.runs} runs on {_where(latency)}, {latency.dtype}, "
        f"input {_shape(latency)}")
    if throughput.real_time_factor is None:
        say(f"{throughput.frames_per_second:.1f} frames per second; a window is as long as its video, so there is no real-time factor")
    else:
        say(f"{throughput.frames_per_second:.1f} frames per second; {throughput.real_time_factor:.1f} seconds of video per second "
            f"({throughput.video_seconds:.1f} s a window, {_assumed(throughput)})")
    say(f"peak memory {timing.memory.bytes / 2**20:.0f} MiB ({timing.memory.measured})")


def _print_versus(name: str, versus: Versus) -> None:
    median, p95, least = _times(versus.latency)
    ran = f"ONNX Runtime, {versus.provider}, " if versus.provider else "compiled, " if versus.latency.compiled else ""
    say(f"{versus.other}: latency {median} ms median, {p95} ms p95, {least} ms min ({ran}{versus.latency.dtype})")
    say(f"time of {name} / time of {versus.other}: {_ratio(versus.speedup, 3)} of the runs in turn; "
        f"ratio of their MACs: {versus.macs_ratio:.3f}")


def _change(one: Variant) -> str:
    if one.kind == "full":
        return "full"
    if one.kind == "depth":
        return f"no blocks {', '.join(map(str, one.change['dropped']))}"
    heads, hidden = ("-".join(map(str, sorted({min(values), max(values)}))) for values in (one.change["heads"], one.change["hidden"]))
    return f"{heads} heads, MLPs of {hidden}"


def _where(latency: Latency) -> str:
    threads = f", {latency.threads} thread{'s' * (latency.threads > 1)}" if latency.device == "cpu" else ""
    return f"{latency.device}{threads}, torch {latency.torch_version}, {'compiled' if latency.compiled else 'eager'}"


def _shape(latency: Latency) -> str:
    return "x".join(map(str, latency.input_shape or ()))


def _times(latency: Latency) -> tuple[str, str, str]:
    median, p95, least = (f"{value:.1f}" if value >= 10 else f"{value:.2f}" for value in (latency.median, latency.p95, latency.min))
    return median, p95, least


def _ratio(ratio: Ratio, digits: int = 2) -> str:
    return f"{ratio.median:.{digits}f} ({ratio.low:.{digits}f}-{ratio.high:.{digits}f})"


def _real_time(throughput: Throughput) -> str:
    return "" if throughput.real_time_factor is None else f"{throughput.real_time_factor:.1f}"


def _assumed(throughput: Throughput) -> str:
    return f"{throughput.fps:g} frames per second {'are assumed' if throughput.fps_assumed else 'as given'}"
