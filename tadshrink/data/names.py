"""Names of datasets. Imports nothing heavy, as the shell asks for them."""

from __future__ import annotations

from importlib.resources import files as package_files
from pathlib import Path


def builtin_names() -> list[str]:
    """Names that ``--dataset`` takes without a file."""
    folder = package_files("tadshrink.data") / "builtin"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def short_name(dataset: str) -> str:
    """How work dirs and reports call what ``--dataset`` was given: a name, or a file's without its folder and ending."""
    path = Path(dataset)
    return path.stem if path.suffix in (".yaml", ".yml") else path.name
