"""What an ONNX file says about itself, for this package and for every other program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from tadshrink import __version__
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tadshrink.models.units import Unit

#: Changes when files can no longer be read as before.
FORMAT = 1
AGAIN = "Make it with: tadshrink export CKPT --onnx OUT"
_UNITS = {
    "frames": "uint8 RGB, 0 to 255, [windows, 1, 3, frames, height, width]; normalised inside",
    "features": "float32 [windows, channels, cells]",
    "masks": "bool [windows, cells]: the cells that are not padding",
    "window": "cells of a window in training; this graph takes windows of 'cells'",
    "scores": "probabilities; before NMS of every class at every point, after it of the detections, 0 where there is none",
    "valid": "points that are not padding",
    "labels": "indices into 'classes'",
}
_BY_FRAMES = ("start and end in grid cells from the start of the window; in seconds: (first frame of the window + cells * snippet_stride + "
              "offset_frames) / frames per second")
#: By ``SamplingConfig.mode``.
_SEGMENTS = {
    "sliding": _BY_FRAMES, "whole": _BY_FRAMES,
    "resize": "start and end in grid cells, of which 'window' are the whole video; in seconds: cells / window * duration of the video",
}


@dataclass(frozen=True)
class Metadata:
    """Of one file.

    Attributes:
        config: the detector; its NMS is that of the graph where that has one.
        dropped: units that do not exist any more.
        checksum: of the weights of the checkpoint.
        precision: "fp32", "fp16", "int8 (dynamic)" or "int8 (static)".
        cells: grid cells of a window as the graph takes it.
        lengths: points per level of the pyramid.
        nms: whether NMS is in the graph.
    """

    config: DetectorConfig
    dropped: tuple[Unit, ...]
    checksum: str
    precision: str
    cells: int
    lengths: tuple[int, ...]
    nms: bool = False

    def write(self, model: onnx.ModelProto) -> None:
        """Put it into a model, in place: values are JSON."""
        onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in self._values().items()})
        model.producer_name, model.producer_version = "tadshrink", __version__

    def _values(self) -> dict[str, Any]:
        config = self.config.model_dump(mode="json")
        sampling = config["sampling"]
        mode = sampling["mode"]
        rate = f"{sampling['fps']:g} frames per second: take other videos as if they had it" if sampling.get("fps") else "each video's own"
        rule = "frames spread evenly over the whole video, whatever its rate" if mode == "resize" else f"frames at {rate}"
        return {
            "tadshrink": FORMAT, "tadshrink_version": __version__, "config": config, "dropped": list(self.dropped),
            "checksum": self.checksum, "precision": self.precision, "cells": self.cells, "lengths": list(self.lengths),
            "nms_in_graph": self.nms,
            "classes": config["classes"], "window": sampling["window"], "snippet_stride": sampling["snippet_stride"],
            "frames_per_cell": sampling["frames_per_cell"], "frame_size": sampling["frame_size"], "fps_rule": rule, "mode": mode,
            "offset_frames": sampling["offset_frames"], "nms": config["postprocess"], "units": _UNITS | {"segments": _SEGMENTS[mode]},
        }


def read_metadata(values: Mapping[str, str], where: object) -> Metadata:
    """The inverse of :meth:`Metadata.write`.

    Raises:
        UserError: it is not there, or of another version.
    """
    if "tadshrink" not in values:
        raise UserError("this ONNX file does not say that it is a detector of tadshrink", where=where, fix=AGAIN)
    if "kind" in values:
        raise UserError("an ONNX file of a recogniser of trimmed videos, not of a detector", where=where,
                        fix="Give a detector; recognisers are for: tadshrink sfc")
    try:
        known = {key: json.loads(values[key]) for key in ("tadshrink", "config", "dropped", "checksum", "precision", "cells", "lengths",
                                                         "nms_in_graph")}
        version = known["tadshrink"]
        cells, lengths, dropped = int(known["cells"]), tuple(map(int, known["lengths"])), tuple(known["dropped"])
    except (KeyError, ValueError, TypeError) as error:
        raise UserError("what this ONNX file says about itself is damaged", where=where, fix=AGAIN) from error
    if version != FORMAT:
        raise UserError(f"an ONNX file of another version of tadshrink (format {version}, not {FORMAT})", where=where, fix=AGAIN)
    config = DetectorConfig.parse(known["config"], where)
    return Metadata(config, dropped, str(known["checksum"]), str(known["precision"]), cells, lengths, bool(known["nms_in_graph"]))
