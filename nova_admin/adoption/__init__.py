"""Takes the site into NOVA's database and out of it again: roles, rights, settings, and what NOVA's code changes."""
