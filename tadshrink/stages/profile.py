"""``profile``: what a model costs, alone or beside others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tadshrink.checkpoint.opening import ModelFile, path_of
from tadshrink.profiling.depth_vs_width import SAVINGS, DepthVsWidth
from tadshrink.profiling.depth_vs_width import depth_vs_width as compare_depth_and_width
from tadshrink.profiling.profile import Profile, profile_detector
from tadshrink.profiling.running import AS_USUAL, Measure
from tadshrink.profiling.subject import Sketch, Subject
from tadshrink.profiling.sweep import Sweep
from tadshrink.profiling.sweep import sweep as measure_sweep
from tadshrink.profiling.versus import compare
from tadshrink.recognition.opening import open_recogniser, read_recogniser, summary
from tadshrink.recognition.profile import RecogniserProfile, profile_recogniser
from tadshrink.reporting import SILENT, Reporter

Source = Path | ModelFile | Sketch | Subject


def profile(source: Source, measure: Measure | None = AS_USUAL, convention: str = "full", versus: Path | ModelFile | None = None,
            fps: float | None = None, reporter: Reporter = SILENT) -> Profile:
    """Parameters, multiply-adds, latency and peak memory for a window of noise; see :func:`~tadshrink.profiling.profile.profile_detector`.

    Args:
        measure: None only counts, which runs nothing and builds a sketch without data.
        versus: a checkpoint or an .onnx file to time in turn with it, in windows of the same size.

    Raises:
        UserError: whatever is wrong with a file, an architecture or an option, or with the device.
    """
    subject = _subject(source)
    detector, text = subject.open(reporter, empty=measure is None)
    if measure is None or versus is None:
        return replace(profile_detector(detector, measure, convention, fps, reporter), summary=text)
    timing, other = compare(detector, replace(subject, source=versus, drop=()), measure, convention, fps, reporter)
    return replace(profile_detector(detector, None, convention, fps), timing=timing, versus=other, summary=text)


def profile_video(source: Path | ModelFile, measure: Measure | None = AS_USUAL, convention: str = "full",
                  reporter: Reporter = SILENT) -> RecogniserProfile:
    """What a recogniser of trimmed videos costs for a whole video; see
    :func:`~tadshrink.recognition.profile.profile_recogniser`.

    Raises:
        UserError: whatever is wrong with the file or an option, or with the device.
    """
    checkpoint = read_recogniser(source, reporter)
    recogniser = open_recogniser(checkpoint, path_of(source))
    return replace(profile_recogniser(recogniser, measure, convention, reporter=reporter), summary=summary(checkpoint, path_of(source)))


def sweep(source: Source, axis: str, values: Sequence[int | str] | None = None, measure: Measure = AS_USUAL, fps: float | None = None,
          plot: Path | None = None, reporter: Reporter = SILENT) -> Sweep:
    """Latency, throughput and memory over frames, batch or dtype; see :func:`tadshrink.profiling.sweep.sweep`.

    Args:
        plot: a picture of it.

    Raises:
        UserError: whatever is wrong with a file, an architecture or an option, with the device, or with the place of the picture.
    """
    from tadshrink.plotting import check_picture
    from tadshrink.profiling.picture import plot_sweep

    check_picture(plot)
    result = measure_sweep(_subject(source), axis, values, measure, fps, reporter)
    if plot is not None:
        plot_sweep(result, plot)
    return result


def depth_vs_width(source: Source, measure: Measure = AS_USUAL, savings: Sequence[float] = SAVINGS,
                   reporter: Reporter = SILENT) -> DepthVsWidth:
    """Block drop beside width pruning at equal MACs; see :func:`tadshrink.profiling.depth_vs_width.depth_vs_width`."""
    return compare_depth_and_width(_subject(source), measure, savings, reporter)


def _subject(source: Source) -> Subject:
    return source if isinstance(source, Subject) else Subject(source)
