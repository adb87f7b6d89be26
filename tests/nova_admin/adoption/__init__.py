"""The way into NOVA's database and out of it, by commands, on a real PostgreSQL."""
