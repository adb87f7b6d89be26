"""Tests clients' logins, rotates their passwords and keys, reveals a secret once."""
