"""Reads numbers and sentences for pages and commands: one report a module, each in a fixed number of queries."""
