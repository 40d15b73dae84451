"""Processes of our own that answer messages: environments, acting agents."""
