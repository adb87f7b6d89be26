"""Says how dates and times are written in English."""
