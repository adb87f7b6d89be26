"""The PostgreSQL and the AWS that start by themselves. For development, demo and tests only."""
