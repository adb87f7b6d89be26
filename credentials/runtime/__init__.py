"""What NOVA imports or copies: the document, AWS and the reader. Knows no Django and no phase."""
