"""What the YAML of a recognition dataset may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tadshrink.data.dataset_config import distinct, some
from tadshrink.errors import UserError
from tadshrink.settings import problems_in
from tadshrink.yaml_files import parse_yaml


class RecognitionConfig(BaseModel):
    """A recognition dataset. ``clips`` is relative to ``root``, which is the YAML's own folder unless given."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    #: A CSV file, or a folder with a folder per class.
    clips: str
    root: str | None = None
    #: Names in the order of the model's outputs. Default: those of the labels, by name.
    classes: Annotated[tuple[str, ...] | None, AfterValidator(some), AfterValidator(distinct)] = None
    #: How training clips change at random, as in the YAML of a detection dataset. Nothing is mirrored unless the dataset says so,
    #: since a class may be a direction.
    augment: Literal["light", "flips", "reference", "none"] = "light"
    #: Share of the training videos held out, by the names of their files: parts of one video stay together.
    heldout: float = Field(0.2, gt=0, lt=1)


def parse_recognition_config(text: str, where: object) -> RecognitionConfig:
    """Read the text of such a YAML.

    Raises:
        UserError: not such a YAML; all problems of its keys are reported together.
    """
    fix = f"Its keys are: {', '.join(RecognitionConfig.model_fields)}"
    data = parse_yaml(text, where)
    if not isinstance(data, dict):
        raise UserError("not a recognition dataset (a mapping of keys to values)", where=where, fix=fix)
    try:
        return RecognitionConfig.model_validate(data)
    except ValidationError as error:
        raise UserError(f"bad dataset configuration: {'; '.join(problems_in(error))}", where=where, fix=fix) from error
