"""The papers' score tables, ours beside them, and the statistics between."""
