"""The work on both stores, each a plain function over one client or one batch, and safe to do twice.

`stores` reads both; `pushing` and `comparing` work on a batch of clients; `running` takes a run through its batches.
"""
