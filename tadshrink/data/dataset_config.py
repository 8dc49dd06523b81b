"""What a dataset YAML may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from tadshrink.data.feature_files import READERS
from tadshrink.errors import UserError
from tadshrink.settings import problems_in
from tadshrink.yaml_files import parse_yaml

Kind = Literal["videos", "features"]
AnnotationFormat = Literal["auto", "activitynet", "bmn", "thumos", "epic"]
Value = TypeVar("Value")
#: Ways of sampling (``SamplingConfig.mode``) that there are for each kind of input.
MODES: dict[Kind, tuple[str, ...]] = {"videos": ("sliding", "resize"), "features": ("sliding", "whole", "resize")}
#: The key of a dataset YAML that says how the names of its files end.
EXTENSION_KEYS: dict[Kind, str] = {"videos": "extension", "features": "feature_extension"}
#: The sampling settings that a dataset decides.
SAMPLING_KEYS: dict[Kind, tuple[str, ...]] = {
    "videos": ("mode", "window", "frames_per_cell", "snippet_stride", "frame_size", "offset_frames"),
    "features": ("mode", "window", "snippet_stride", "offset_frames"),
}


def some(value: Value) -> Value:
    """Refuse an empty list."""
    if value is not None and len(value) == 0:
        raise ValueError("nothing is listed")
    return value


def distinct(names: Value) -> Value:
    """Refuse a list that has a name twice."""
    if names is None or isinstance(names, str):
        return names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"listed more than once: {', '.join(map(str, twice))}")
    return names


def _readable(extension: str) -> str:
    if extension not in READERS:
        raise ValueError(f"no reader for {extension!r}; there is one for {', '.join(READERS)}")
    return extension


#: Names of classes, or the path of a file of them.
Classes = Annotated[tuple[str, ...] | str, AfterValidator(some), AfterValidator(distinct)]
#: A tIoU threshold.
Overlap = Annotated[float, Field(gt=0, le=1)]


class Splits(BaseModel):
    """Names of the splits in the annotation file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    train: str = "training"
    validation: str = "validation"
    test: str = "testing"


class DatasetConfig(BaseModel):
    """A dataset YAML. Paths are relative to ``root``, which is the YAML's own folder unless given."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    #: Where the data can be had, a sentence for messages about what is missing.
    source: str | None = None
    #: File or folder of annotations, and which form it has.
    annotations: str
    annotation_format: AnnotationFormat = "auto"
    #: CSV with the durations, frame rates or splits of the videos, where the annotations have none.
    video_info: str | None = None
    #: Which of the two labels of EPIC-KITCHENS is the class.
    label: Literal["verb", "noun"] = "verb"
    #: Folder of the video files, or of the files of features (several: their channels are joined): one of the two.
    videos: str | None = None
    features: Annotated[tuple[str, ...] | str | None, AfterValidator(some)] = Field(None, validate_default=True)
    #: The names in the order of the model's outputs, or the path of a file of them; of a loaded dataset always the names.
    classes: Classes
    #: Labels in the annotation file that are neither trained on nor counted.
    ignored_labels: tuple[str, ...] = ()
    #: Labels that mark regions where the THUMOS-14 rule counts a detection neither as right nor as wrong.
    ambiguous_labels: tuple[str, ...] = ("Ambiguous",)
    #: Videos that are left out: names, or the path of a JSON or text file of them.
    blocked: tuple[str, ...] | str = ()
    root: str | None = None
    #: A file is called prefix + name of the video + "." + extension.
    prefix: str = ""
    extension: str = "mp4"
    feature_extension: Annotated[str, AfterValidator(_readable)] = "npy"
    #: The files of features hold [channels, time].
    transposed: bool = False
    #: "training" brings each channel to mean 0 and deviation 1 over the training videos, without those held out.
    normalise: Literal["none", "training"] = "none"
    #: Frames per second of the videos that features come from, if it is not what the annotation file says.
    fps: float | None = Field(None, gt=0, allow_inf_nan=False)
    splits: Splits = Splits()
    #: How detections are matched to the actions, and at which overlaps.
    rule: Literal["activitynet", "thumos14"] = "activitynet"
    tiou: Annotated[tuple[Overlap, ...], AfterValidator(distinct)] = Field((0.3, 0.4, 0.5, 0.6, 0.7), min_length=1)
    #: File of a video-level classifier that names the proposals of a model of one class.
    class_scores: str | None = None
    #: Share of the training videos held out for selection and the stop rule.
    heldout: float = Field(0.2, gt=0, lt=1)
    mode: str = Field("sliding", validate_default=True)
    window: int = Field(768, gt=0, description="grid cells per window")
    frames_per_cell: int = Field(1, gt=0)
    snippet_stride: int = Field(4, gt=0, description="video frames per grid cell")
    frame_size: int = Field(160, gt=0)
    #: How training clips change at random: "light" (crop, brightness, contrast), "flips" (also mirrored along both axes, for a
    #: camera that looks straight down), "reference" (as OpenTAD trains on frames), "none".
    augment: Literal["light", "flips", "reference", "none"] = "light"
    offset_frames: float = Field(0.0, allow_inf_nan=False, description="frames from the start of the video to the centre of its first feature")

    @field_validator("features")
    @classmethod
    def _one_kind(cls, features: str | tuple[str, ...] | None, others: ValidationInfo) -> str | tuple[str, ...] | None:
        # Where 'videos' is wrong itself it is absent here, and reported.
        if "videos" in others.data and (features is None) == (others.data["videos"] is None):
            raise ValueError("give either 'videos' or 'features'")
        return features

    @field_validator("mode")
    @classmethod
    def _possible(cls, mode: str, others: ValidationInfo) -> str:
        kind: Kind = "videos" if others.data.get("features") is None else "features"
        if mode not in MODES[kind]:
            raise ValueError(f"{kind} are sampled in mode {' or '.join(MODES[kind])}, not {mode!r}")
        return mode

    @property
    def kind(self) -> Kind:
        """What the dataset's files are."""
        return "features" if self.videos is None else "videos"

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of the files, relative to the root; more than one where features come in several streams."""
        given = getattr(self, self.kind)
        return (given,) if isinstance(given, str) else given

    @property
    def suffix(self) -> str:
        """How the names of the files end."""
        return f".{getattr(self, EXTENSION_KEYS[self.kind])}"

    @property
    def sampling(self) -> dict[str, Any]:
        """The part of a model's :class:`SamplingConfig` that the dataset decides."""
        return {key: getattr(self, key) for key in SAMPLING_KEYS[self.kind]}


def parse_dataset_config(text: str, where: object) -> DatasetConfig:
    """Read the text of a dataset YAML.

    Raises:
        UserError: not such a YAML; all problems of its keys are reported together.
    """
    data = parse_yaml(text, where)
    if not isinstance(data, dict):
        raise UserError("not a dataset YAML (a mapping of keys to values)", where=where, fix="See sample_configs/ beside the README")
    try:
        return DatasetConfig.model_validate(data)
    except ValidationError as error:
        raise UserError(f"bad dataset configuration: {'; '.join(problems_in(error))}", where=where,
                        fix="See sample_configs/ beside the README for an example") from error
