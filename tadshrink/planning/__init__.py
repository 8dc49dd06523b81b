"""What a run would do, and about how long that would take, without doing it."""
