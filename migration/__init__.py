"""Moves clients' credentials from PostgreSQL to AWS and back: a drawer for each feature. Knows no boto3."""
