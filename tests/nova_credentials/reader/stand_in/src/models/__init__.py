"""NOVA's models."""
