"""Reads and writes secrets in AWS Secrets Manager. Knows no phase and no Django."""
