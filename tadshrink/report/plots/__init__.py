"""The figures of a report, one per file. Each is drawn twice, for wide and for narrow screens."""
