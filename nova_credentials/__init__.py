"""Everything NOVA installs: the document, comparison, phases, AWS and the reader. Knows no Django."""

# The release, which the wheel has and each process of NOVA notes in the database.
VERSION = "0.3.0"
