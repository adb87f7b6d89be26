"""Wires the site: settings, addresses, login, logs, the database backend; in development both stores, embedded."""
