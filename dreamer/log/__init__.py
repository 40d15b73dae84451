"""What a run shows and what it writes for readers."""
