"""What computes on tensors; the only folder of the core with TensorFlow."""
