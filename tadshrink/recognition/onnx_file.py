"""A recogniser as one ONNX file: written if ONNX Runtime computes with it what torch does, and run in the recogniser's place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from tadshrink import __version__
from tadshrink.errors import UserError
from tadshrink.models.units import Unit, gone
from tadshrink.onnx_export.forms import export_form
from tadshrink.onnx_export.metadata import AGAIN, FORMAT
from tadshrink.onnx_export.precision import PRECISIONS, quantise_dynamic
from tadshrink.onnx_export.runtime import PROVIDERS, as_array, choose_provider, open_file
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.onnx_export.tracing import graph
from tadshrink.onnx_export.writing import is_large, publish, save_checked, working_folder, write_model
from tadshrink.recognition.config import RecogniserConfig
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.reporting import SILENT, Reporter

INPUT, OUTPUT = "clips", "probabilities"
_UNITS = {
    "alone": "uint8 RGB, 0 to 255, [views, 3, frames, size, size]; normalised inside",
    "together": "uint8 RGB, 0 to 255, [videos, clips, 3, frames, size, size], the clips of a video in the order of time, which take "
                "turns with the crops (left or top, middle, right or bottom; 'config.sfc.crops' of them); normalised inside",
    OUTPUT: "of each class, in the order of 'classes'",
}


class Probabilities(nn.Module):
    """What is traced: a view, or with a module the clips of a whole video, to class probabilities [n, K]."""

    def __init__(self, recogniser: ActionRecogniser, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.recogniser = export_form(recogniser, dtype)
        self.together = recogniser.sfc is not None

    def forward(self, clips: Tensor) -> Tensor:
        logits = self.recogniser.compress(clips, clips.shape[1]) if self.together else self.recogniser(clips[:, None])[:, 0]
        return logits.float().softmax(-1)


@dataclass(frozen=True)
class RecogniserMetadata:
    """What a file says about itself; ``checksum`` is that of the weights of the checkpoint."""

    config: RecogniserConfig
    dropped: tuple[Unit, ...]
    checksum: str
    precision: str

    def write(self, model: onnx.ModelProto) -> None:
        """Put it into a model, in place: values are JSON."""
        config = self.config.model_dump(mode="json")
        values = {"tadshrink": FORMAT, "tadshrink_version": __version__, "kind": "recogniser", "config": config, "dropped": list(self.dropped),
                  "checksum": self.checksum, "precision": self.precision, "classes": config["classes"], **config["clip"],
                  "clips": self.config.sfc.clips if self.config.sfc else 1,
                  "units": {INPUT: _UNITS["together" if self.config.sfc else "alone"], OUTPUT: _UNITS[OUTPUT]}}
        onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in values.items()})
        model.producer_name, model.producer_version = "tadshrink", __version__

    @classmethod
    def read(cls, values: Mapping[str, str], where: object) -> RecogniserMetadata:
        """The inverse of :meth:`write`.

        Raises:
            UserError: it is not there, or of another version.
        """
        try:
            if json.loads(values["kind"]) != "recogniser" or json.loads(values["tadshrink"]) != FORMAT:
                raise ValueError
            known = {key: json.loads(values[key]) for key in ("config", "dropped", "checksum", "precision")}
        except (KeyError, ValueError, TypeError) as error:
            raise UserError("not an ONNX file of a recogniser that this version of tadshrink wrote", where=where, fix=AGAIN) from error
        return cls(RecogniserConfig.parse(known["config"], where), tuple(known["dropped"]), str(known["checksum"]), str(known["precision"]))


@dataclass(frozen=True)
class RecogniserWritten:
    """What was written: the number format in words, what ran the check, and the largest difference of a probability."""

    precision: str
    provider: str
    difference: float
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"precision": self.precision, "provider": self.provider, "difference": {"scores": self.difference}, "files": list(self.files)}


class OnnxRecogniser:
    """Classifies as a recogniser does, from a file alone.

    Attributes:
        provider: what really runs it.
    """

    def __init__(self, session: Any, metadata: RecogniserMetadata, provider: str) -> None:
        self.session, self.metadata, self.provider, self.config = session, metadata, provider, metadata.config
        self.sfc = self.config.sfc

    @classmethod
    def open(cls, path: Path, provider: str | None = None, reporter: Reporter = SILENT) -> OnnxRecogniser:
        """Read a file that ``tadshrink export --onnx`` wrote of a recogniser.

        Raises:
            UserError: not such a file, a damaged one, or a provider that does not run here.
        """
        session, ran = open_file(path, provider)
        metadata = RecogniserMetadata.read(session.get_modelmeta().custom_metadata_map, path)
        reporter.note(f"ONNX Runtime with {PROVIDERS[ran]}, {metadata.precision}")
        return cls(session, metadata, ran)

    def eval(self) -> OnnxRecogniser:
        """There is no other mode."""
        return self

    def check_way(self, together: bool, where: object) -> None:
        """Raise a :class:`UserError` for views one by one of a file that has all clips together, or the reverse."""
        if together != (self.sfc is not None):
            raise UserError(f"this ONNX file takes {'the clips of a video together' if self.sfc else 'views one by one'}", where=where,
                            fix=f"Give --views {'sfc' if self.sfc else '10x3, 10x1 or 1x1'}, or the checkpoint")

    def probabilities(self, clips: Tensor, together: bool) -> Tensor:
        """See :meth:`~tadshrink.recognition.recogniser.ActionRecogniser.probabilities`; only in the way that the file is for."""
        return torch.from_numpy(self.session.run(None, {INPUT: as_array(clips)})[0])


def write_recogniser(recogniser: ActionRecogniser, checksum: str, path: Path, settings: OnnxSettings, clips: Tensor,
                     reporter: Reporter = SILENT) -> RecogniserWritten:
    """Write a recogniser without LoRA as an ONNX file, if ONNX Runtime computes with it what torch does.

    Args:
        checksum: of the checkpoint's weights.
        clips: uint8 [n, V, 3, F, S, S] to compare the two on: all clips of videos, or views one by one (V is 1).

    Raises:
        UserError: probabilities further apart than the precision allows, a provider that does not run here, or a path that cannot be
            written.
    """
    precision = PRECISIONS[settings.precision]
    choose_provider(settings.provider)  # Before the work.
    samples = clips if recogniser.sfc is not None else clips[:, 0]
    with working_folder(path) as folder:
        reporter.note("tracing the model for ONNX")
        model, kind = graph(Probabilities(recogniser, precision.dtype), {INPUT: samples[:1]}, (OUTPUT,)), settings.precision
        if settings.precision == "int8":
            write_model(model, traced := folder / "traced.onnx")
            quantise_dynamic(traced, target := folder / "quantised.onnx", is_large(model))
            model, kind = onnx.load(target), "int8 (dynamic)"
        dropped = tuple(gone(recogniser.config.block_count, recogniser.blocks.left)) if recogniser.config.block_count else ()
        file = save_checked(model, RecogniserMetadata(recogniser.config, dropped, checksum, kind), folder / "plain" / path.name)
        opened = OnnxRecogniser.open(file, settings.provider, reporter)
        difference = _difference(recogniser, opened, samples)
        reporter.note(f"{kind} on {opened.provider} beside torch: largest difference {difference:.1e} of a probability; "
                      f"limit {precision.scores:g}")
        if not difference <= precision.scores:
            raise UserError(f"the ONNX file's probabilities are not those of the model (largest difference {difference:.1e}, limit "
                            f"{precision.scores:g}): nothing was written", where=path, fix="Try another precision, or other clips (--dataset)")
        return RecogniserWritten(kind, opened.provider, difference, publish(file, path))


@torch.inference_mode()
def _difference(recogniser: ActionRecogniser, found: OnnxRecogniser, samples: Tensor) -> float:
    together, device = recogniser.sfc is not None, next(recogniser.parameters()).device
    ours = recogniser.eval().probabilities(samples.to(device), together)
    return float((ours - found.probabilities(samples, together)).abs().max())
