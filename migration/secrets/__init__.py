"""Looks after clients' secrets in AWS, their versions, layouts and settings, and finds copies of their values."""
