"""Recognition of trimmed videos, one label each, and Selective Feature Compression of it."""
