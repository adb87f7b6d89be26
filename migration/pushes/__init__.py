"""Pushes clients' rows to AWS, compares both stores, and resolves what differs."""
