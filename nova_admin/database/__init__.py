"""Django's database backend for NOVA's PostgreSQL, with the site's own search_path and masked error texts."""
