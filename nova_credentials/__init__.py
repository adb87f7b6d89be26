"""Everything NOVA installs: the document, comparison, phases, AWS and the reader. Knows no Django."""

# The release, which each process of NOVA notes in the database. pyproject.toml has the same.
VERSION = "0.3.0"
