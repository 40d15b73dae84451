"""Compiled agents for machines without TensorFlow."""
