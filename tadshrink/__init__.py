"""tadshrink: make temporal action detectors smaller and faster by dropping whole transformer blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tadshrink.models.detector import Detector
    from tadshrink.reporting import Reporter

__version__ = "0.1.0"


def load(path: str | Path, reporter: Reporter | None = None, **settings: Any) -> Detector:
    """A detector in eval mode on the CPU, out of a checkpoint of tadshrink, OpenTAD, Progressive Block Drop or ActionFormer.

    ``detector(inputs, masks)`` takes uint8 RGB frames ``[B, 1, 3, F, H, W]`` or features ``[B, C, T]``, and masks bool
    ``[B, window]`` or ``[B, T]`` of the grid cells that are not padding. It returns an object with ``features`` ``[B, D, T]`` and,
    per pyramid level, ``cls_logits`` ``[B, T_l, K]``, ``offsets`` ``[B, T_l, 2]`` (>= 0, in strides of the level) and ``masks``
    ``[B, T_l]``.

    Args:
        reporter: told about every choice; by default nobody is.
        settings: what the file cannot tell, as in ``--set``: ``heads``, ``head_heads``, ``window``, ``attention_window``,
            ``absolute_position``, ``frame_size``, ``clip_frames``, ...; also ``preset`` and ``weights`` ("ema" or "raw").

    Raises:
        UserError: whatever is wrong with the file or the settings, in one line.
    """
    # Torch is imported only when it is needed: the command line must answer at once.
    from pathlib import Path

    from tadshrink.checkpoint.foreign.settings import LoadSettings
    from tadshrink.checkpoint.opening import ModelFile, build_model, read_model
    from tadshrink.reporting import SILENT

    file = ModelFile(Path(path), LoadSettings.parse(settings, "load"))
    return build_model(read_model(file, reporter or SILENT), path)
