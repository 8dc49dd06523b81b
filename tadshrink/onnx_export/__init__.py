"""Detectors as ONNX files: written, checked against torch, and run."""
