"""Hyperparameters beside their sources."""
