"""Moves groups of clients wave by wave, and stops by itself where too many fail."""
