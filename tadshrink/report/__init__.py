"""A report of a run, or of a checkpoint: one HTML file."""
