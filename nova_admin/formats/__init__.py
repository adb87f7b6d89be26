"""Says how dates and times are written in each language: one way on all pages."""
