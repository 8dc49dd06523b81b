"""Names of datasets. Imports nothing heavy, as the shell asks for them."""

from __future__ import annotations

from importlib.resources import files as package_files


def builtin_names() -> list[str]:
    """Names that ``--dataset`` takes without a file."""
    folder = package_files("tadshrink.data") / "builtin"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))
