"""``export``: a checkpoint in the form of another program."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.foreign.writer import ReferenceLayout, save_reference
from tadshrink.checkpoint.io import save_checkpoint
from tadshrink.checkpoint.opening import ModelFile, read_model
from tadshrink.errors import UserError
from tadshrink.files import check_output
from tadshrink.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Exported:
    """Checksum of the weights that were exported, and the files written with what is in each."""

    checksum: str
    written: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def export(checkpoint: Path | ModelFile, opentad: Path | None = None, plain: Path | None = None, layout: ReferenceLayout | None = None,
           reporter: Reporter = SILENT) -> Exported:
    """Write the checkpoint for the code base that it came from, as a tadshrink checkpoint, or both.

    Args:
        opentad: a file that OpenTAD, Progressive Block Drop or the original ActionFormer loads strictly.
        plain: a tadshrink checkpoint, with the architecture and the dropped blocks in it.
        layout: of ``opentad``; by default the one that the weights came from, or the only one that can hold them.

    Raises:
        UserError: nothing to write, a path that cannot be written, or a code base that cannot hold this checkpoint.
    """
    if opentad is None and plain is None:
        raise UserError("nothing to write", fix="Give --opentad OUT, --tadshrink OUT or both")
    for path in (opentad, plain):
        check_output(path)
    source = read_model(checkpoint, reporter)
    written: dict[str, str] = {}
    if opentad is not None:
        written[str(opentad)] = save_reference(opentad, source, layout)
    if plain is not None:
        save_checkpoint(plain, source)
        written[str(plain)] = "tadshrink checkpoint"
    return Exported(source.checksum, written)
