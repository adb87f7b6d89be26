"""Knows NOVA's tables and their forms, and counts each write to them. Knows no phase."""
