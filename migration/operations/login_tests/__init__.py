"""Holds what is not in its drawer yet."""
