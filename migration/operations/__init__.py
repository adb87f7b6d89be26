"""The work on both stores: plain functions over one client or one batch, each safe to repeat.

`snapshots` reads PostgreSQL, `aws_store` reads AWS; `pushes` and `comparisons` work on a batch, `runs` on a whole run.
"""
