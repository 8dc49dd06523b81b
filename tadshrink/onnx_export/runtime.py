"""ONNX files of this package, run by ONNX Runtime in the place of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadshrink.errors import UserError
from tadshrink.evaluation.candidates import Scored
from tadshrink.evaluation.detections import Detections
from tadshrink.models.config import DetectorConfig
from tadshrink.models.units import Unit
from tadshrink.onnx_export.metadata import Metadata, read_metadata
from tadshrink.onnx_export.tracing import fit, input_name
from tadshrink.reporting import SILENT, Reporter

#: Name on the command line -> in ONNX Runtime.
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxDetector:
    """Detects actions in windows as :class:`~tadshrink.models.detector.Detector` does, from a file alone.

    Attributes:
        config: the detector's; :attr:`checksum` is that of its weights before they were exported.
        provider: what really runs it, a key of :data:`PROVIDERS`.
    """

    def __init__(self, session: Any, metadata: Metadata, provider: str, path: Path) -> None:
        self.session, self.metadata, self.provider, self.path = session, metadata, provider, path
        self.config: DetectorConfig = metadata.config

    @property
    def checksum(self) -> str:
        return self.metadata.checksum

    @property
    def dropped(self) -> tuple[Unit, ...]:
        return self.metadata.dropped

    @classmethod
    def open(cls, path: Path, provider: str | None = None, reporter: Reporter = SILENT) -> OnnxDetector:
        """Read a file that ``tadshrink export --onnx`` wrote.

        Args:
            provider: a key of :data:`PROVIDERS`; None for CUDA where it is there. As many threads as torch has.

        Raises:
            UserError: not such a file, a damaged one, or a provider that does not run here.
        """
        session, ran = open_file(path, provider)
        metadata = read_metadata(session.get_modelmeta().custom_metadata_map, path)
        reporter.note(f"ONNX Runtime with {PROVIDERS[ran]}, {metadata.precision}" + (", NMS in the graph" if metadata.nms else ""))
        return cls(session, metadata, ran, path)

    def eval(self) -> OnnxDetector:
        """There is no other mode."""
        return self

    def __call__(self, inputs: Tensor, masks: Tensor) -> Scored | list[Detections]:
        """Detect in a batch of windows.

        Args:
            inputs: uint8 RGB [B, 1, 3, F, H, W], or features [B, C, T] of up to the window's length.
            masks: bool [B, T].

        Returns:
            what :func:`~tadshrink.evaluation.postprocess.window_detections` takes: all points, or what NMS in the graph left of
            them, per window.

        Raises:
            UserError: windows longer than those of the file.
        """
        if masks.shape[-1] > self.metadata.cells:
            raise UserError(f"{masks.shape[-1]} grid cells in one window, and this ONNX file takes {self.metadata.cells}", where=self.path,
                            fix="Use the checkpoint, or export it for longer windows: --cells")
        inputs, masks = fit((inputs, masks), self.metadata.cells)
        outputs = self.session.run(None, {input_name(self.config): as_array(inputs), "masks": as_array(masks)})
        if self.metadata.nms:
            return _detections(*outputs)
        return Scored(*map(torch.from_numpy, outputs), self.metadata.lengths)


def as_array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().cpu().contiguous().numpy()


def _detections(segments: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Detections]:
    there: Sequence[NDArray[np.bool_]] = scores > 0
    return [Detections(*(part[window][kept] for part in (segments, scores, labels))) for window, kept in enumerate(there)]


def open_file(path: Path, provider: str | None = None) -> tuple[Any, str]:
    """A session, and the provider that really runs it.

    Raises:
        UserError: no such file, a damaged one, or a provider that does not run here.
    """
    if not path.is_file():
        raise UserError("no such file", where=path, fix="Check the path")
    wanted = choose_provider(provider)
    session = open_session(path, wanted)
    ran = provider_of(session)
    if provider is not None and ran != provider:
        raise UserError(f"ONNX Runtime fell back from {provider} to {ran}", where=path,
                        fix=f"Install what {PROVIDERS[wanted]} needs (CUDA, cuDNN), or take --provider {ran}")
    return session, ran


def open_session(path: Path, provider: str) -> Any:
    """A session with a provider that is there, and with the CPU behind it.

    Raises:
        UserError: not a graph that this ONNX Runtime takes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning slow down the decoding beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDERS[provider], PROVIDERS["cpu"]][: 1 + (provider != "cpu")])
    except Exception as error:  # Its kinds have no common base.
        reason = str(error).splitlines()[0].split(" : ")[-1].strip()[:200]
        raise UserError(f"ONNX Runtime {onnxruntime.__version__} cannot open this file ({reason})", where=path,
                        fix="Give a sound .onnx file of: tadshrink export --onnx") from error


def choose_provider(provider: str | None) -> str:
    """The provider to ask for.

    Raises:
        UserError: it is not here.
    """
    import onnxruntime

    # The GPU build lists CUDA where there is no GPU, too.
    here = [name for name, full in PROVIDERS.items()
            if full in onnxruntime.get_available_providers() and (name != "cuda" or torch.cuda.is_available())]
    if provider is None:
        provider = "cuda" if "cuda" in here else "cpu"
    if provider not in PROVIDERS:
        raise UserError(f"unknown provider {provider!r}", fix=f"Providers: {', '.join(PROVIDERS)}")
    if provider not in here:
        lacks = "there is no CUDA device" if not torch.cuda.is_available() else "this ONNX Runtime is built without CUDA"
        raise UserError(f"{PROVIDERS[provider]} cannot run here: {lacks}", fix="Install onnxruntime-gpu beside a GPU, or take --provider cpu")
    if provider == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        # The libraries that torch brought along.
        onnxruntime.preload_dlls()
    return provider


def provider_of(session: Any) -> str:
    """The first provider that the session really has."""
    return next(name for full in session.get_providers() for name, known in PROVIDERS.items() if known == full)
