"""Knows NOVA's tables, what NOVA added to them, and who reads them."""
