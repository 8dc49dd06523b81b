"""tadshrink: make temporal action detectors smaller and faster by dropping whole transformer blocks."""

__version__ = "0.1.0"
