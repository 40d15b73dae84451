"""Episodes on disk, and batches of sequences from them."""
