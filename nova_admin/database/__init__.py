"""The connection to NOVA's PostgreSQL: Django's own, on a path and with error texts that nobody else can use."""
