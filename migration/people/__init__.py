"""Keeps the site's users: roles, second factors, lockouts."""
