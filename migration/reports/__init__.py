"""What the dashboard tells, one part a module: each takes a fixed number of queries, whatever the number of clients."""
