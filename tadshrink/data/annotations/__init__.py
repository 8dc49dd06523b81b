"""Annotations of every usual form, read into one: videos with their splits, lengths and actions."""

from tadshrink.data.annotations.reading import AnnotationSettings, find_annotations, read_annotations
from tadshrink.data.annotations.records import Action, Found, Problem, VideoRecord

__all__ = ["Action", "AnnotationSettings", "Found", "Problem", "VideoRecord", "find_annotations", "read_annotations"]
