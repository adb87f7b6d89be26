"""Holds what every drawer stands on: phases, snapshots, leases, the AWS store, the audit, bases of pages."""
