"""The embedded PostgreSQL and AWS, which start by themselves. For development, demo and tests only."""
