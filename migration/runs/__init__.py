"""Works on many clients in batches: runs, their items, plans and progress. Knows no act."""
