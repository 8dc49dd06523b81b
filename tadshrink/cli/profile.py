"""``tadshrink profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadshrink.cli import completion, options
from tadshrink.cli.console import ConsoleReporter, emit
from tadshrink.errors import UserError, check_unused

if TYPE_CHECKING:
    from tadshrink.profiling.running import Measure
    from tadshrink.profiling.subject import Subject

NAME = "profile"
EXAMPLE = "tadshrink profile base.pth"

_WHAT, _HOW, _OTHER = "What is profiled", "How it is timed", "Several in one run"


def command(
    checkpoint: Annotated[Path | None, typer.Argument(metavar="CKPT", help="Checkpoint (.pth); or --arch.", show_default=False,
                                                      autocompletion=completion.checkpoints)] = None,
    arch: Annotated[str | None, typer.Option(metavar="A", help="In place of CKPT: an architecture with random weights, as for train.",
                                             show_default=False, rich_help_panel=_WHAT)] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Of --arch. Default: 20, as in THUMOS-14.", show_default=False,
                                                rich_help_panel=_WHAT)] = None,
    drop: Annotated[str | None, typer.Option(metavar="BLOCKS", help="Leave out blocks or halves of blocks, such as 4,9,6.mlp.",
                                             show_default=False, rich_help_panel=_WHAT, autocompletion=completion.blocks)] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of a window (features: their number). Default: the model's.", show_default=False,
                                               rich_help_panel=_WHAT)] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a frame from side to side. Default: the model's.", show_default=False,
                                             rich_help_panel=_WHAT)] = None,
    convention: Annotated[str, typer.Option(metavar="C", help="What counts: full, fvcore (no products of fused attention) or paper (what "
                                            "the published tables of block drop count: a third of every block's layers).",
                                            rich_help_panel=_WHAT)] = "full",
    no_time: Annotated[bool, typer.Option("--no-time", help="Only count; nothing is run.", rich_help_panel=_HOW)] = False,
    runs: Annotated[int | None, typer.Option(min=1, help="Timed runs, after 3 to warm up; without it 20, or what a minute allows.",
                                             show_default=False, rich_help_panel=_HOW)] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Windows at a time (default 1).", show_default=False, rich_help_panel=_HOW)] = None,
    dtype: Annotated[str | None, typer.Option(metavar="D", help="float32, bfloat16 or float16. Default: as the other commands choose.",
                                              show_default=False, rich_help_panel=_HOW)] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch on a CPU.", show_default=False, rich_help_panel=_HOW)] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="By torch.compile; eagerly where that fails.", rich_help_panel=_HOW)] = False,
    fps: Annotated[float | None, typer.Option(help="Frames per second of the videos, for the real-time factor. Default: those that the "
                                                   "model was trained on, or 30 if it does not know.", show_default=False,
                                              rich_help_panel=_HOW)] = None,
    vs: Annotated[Path | None, typer.Option("--vs", metavar="OTHER", help="A checkpoint or .onnx file to time in turn with it.",
                                            show_default=False, rich_help_panel=_OTHER, autocompletion=completion.models)] = None,
    sweep: Annotated[str | None, typer.Option(metavar="AXIS", help="Time it at several frames, batch or dtype; frames=128,256 names them.",
                                              show_default=False, rich_help_panel=_OTHER)] = None,
    plot: Annotated[Path | None, typer.Option(metavar="PNG", help="A picture of the sweep.", show_default=False,
                                              rich_help_panel=_OTHER)] = None,
    depth_vs_width: Annotated[bool, typer.Option("--depth-vs-width", help="Time dropping blocks beside making all of them narrower, at equal "
                                                 "MACs. Default of --arch: videomae-s.", rich_help_panel=_OTHER)] = False,
    savings: Annotated[str | None, typer.Option(metavar="P", help="Savings to compare --depth-vs-width at, in percent (default 12.5,25).",
                                                show_default=False, rich_help_panel=_OTHER)] = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Parameters, MACs by part and by block, latency, throughput and peak memory for one window; alone or beside others."""
    from tadshrink.cli import profile_tables as tables
    from tadshrink.recognition.opening import is_recogniser_file
    from tadshrink.stages import profile as stage

    timing = {"--runs": runs, "--batch": batch, "--dtype": dtype, "--threads": threads, "--compile": compiled or None, "--fps": fps, "--vs": vs}
    only = {"--vs": vs, "--convention": None if convention == "full" else convention}
    _check(no_time, sweep, depth_vs_width, timing | {"--device": device}, only, {"--plot": plot}, {"--savings": savings})
    _check_swept(sweep, {"batch": batch, "dtype": dtype, "frames": frames})
    if checkpoint is not None and is_recogniser_file(checkpoint):
        given = {**timing, "--arch": arch, "--classes": classes, "--drop": drop, "--frames": frames, "--size": size, "--sweep": sweep,
                 "--depth-vs-width": depth_vs_width or None}
        return _profile_video(checkpoint, convention, no_time, json, given, device)
    subject = _subject(checkpoint, arch or ("videomae-s" if depth_vs_width and checkpoint is None else None), classes, drop, frames, size)
    measure, reporter = None if no_time else _measure(runs, device, dtype, threads, compiled, batch), ConsoleReporter()
    if sweep is not None:
        assert measure is not None
        axis, values = _axis(sweep)
        swept = stage.sweep(subject, axis, values, measure, fps, plot, reporter)
        tables.print_sweep(str(subject.source), swept)
        return emit(json, swept.to_json())
    if depth_vs_width:
        assert measure is not None
        fractions = stage.SAVINGS if savings is None else [value / 100 for value in _numbers("--savings", savings)]
        compared = stage.depth_vs_width(subject, measure, fractions, reporter)
        tables.print_depth_vs_width(str(subject.source), compared)
        return emit(json, compared.to_json())
    result = stage.profile(subject, measure, convention, vs, fps, reporter)
    tables.print_profile(str(subject.source), result)
    return emit(json, result.to_json())


def _profile_video(checkpoint: Any, convention: str, no_time: bool, json: bool, given: dict[str, Any], device: str | None) -> None:
    """Of a recogniser of trimmed videos."""
    from tadshrink.cli.profile_tables import print_recogniser
    from tadshrink.stages import profile as stage

    useful = ("--runs", "--dtype", "--threads")
    check_unused({name: value for name, value in given.items() if name not in useful}, "for a recogniser", checkpoint)
    measure = None if no_time else _measure(given["--runs"], device, given["--dtype"], given["--threads"], False, None)
    result = stage.profile_video(checkpoint, measure, convention, ConsoleReporter())
    print_recogniser(str(checkpoint), result)
    emit(json, result.to_json())


def _check(no_time: bool, sweep: str | None, depth_vs_width: bool, timing: dict[str, Any], only: dict[str, Any], of_sweep: dict[str, Any],
           of_depth: dict[str, Any]) -> None:
    """Raise a :class:`UserError` unless the options go together."""
    modes = {"--no-time": no_time, "--sweep": sweep is not None, "--depth-vs-width": depth_vs_width}
    if len(chosen := [name for name, given in modes.items() if given]) > 1:
        raise UserError(f"{' and '.join(chosen)} exclude each other", fix=f"Leave out {chosen[-1]}")
    useless = {"--no-time": timing, "--sweep": only | of_depth, "--depth-vs-width": only | of_sweep | {"--fps": timing["--fps"]}}
    for mode in chosen:
        check_unused(useless[mode], f"with {mode}")
    for mode, own in {"--sweep": of_sweep, "--depth-vs-width": of_depth}.items():
        if mode not in chosen:
            check_unused(own, f"without {mode}")


def _check_swept(sweep: str | None, given: dict[str, Any]) -> None:
    """Raise a :class:`UserError` where one value is given of what has several. Shares of so many frames are swept where no values are."""
    axis, has_values, _ = (sweep or "").partition("=")
    if axis != "frames" or has_values:
        check_unused({f"--{axis}": given.get(axis)}, f"with --sweep {axis}")


def _subject(checkpoint: Any, arch: str | None, classes: int | None, drop: str | None, frames: int | None, size: int | None) -> Subject:
    from tadshrink.models.units import parse_unit
    from tadshrink.profiling.subject import CLASSES, Sketch, Subject

    if (checkpoint is None) == (arch is None):
        raise UserError("nothing to profile" if arch is None else "a checkpoint and --arch exclude each other",
                        fix="Give a checkpoint (CKPT), or an architecture with random weights (--arch)")
    if arch is None:
        check_unused({"--classes": classes}, "without --arch")
    units = [] if drop is None else [parse_unit(part) for part in drop.split(",")]
    return Subject(Sketch(arch, CLASSES if classes is None else classes) if arch else checkpoint, units, frames, size)


def _measure(runs: int | None, device: str | None, dtype: str | None, threads: int | None, compiled: bool, batch: int | None) -> Measure:
    from tadshrink.profiling.running import AS_USUAL, Measure

    return Measure(runs, device=device, dtype=AS_USUAL.dtype if dtype is None else dtype, threads=threads, compiled=compiled,
                   batch=AS_USUAL.batch if batch is None else batch)


def _axis(text: str) -> tuple[str, list[int | str] | None]:
    """``frames``, or with values: ``frames=128,256``."""
    axis, has_values, values = text.partition("=")
    listed = [part.strip() for part in values.split(",")]
    return axis, [int(part) if part.isdecimal() else part for part in listed] if has_values else None


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.removesuffix("%").split(",")]
    except ValueError as error:
        raise UserError(f"{option} {text!r} is no list of numbers", fix="For example: 12.5,25") from error
