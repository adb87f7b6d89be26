"""Everything NOVA installs: the document, comparison, phases, AWS and the reader. Knows no Django."""
