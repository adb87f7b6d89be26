"""`trim_audit`: the former name of `audit trim`."""

from migration.management.names import make_old_name

Command = make_old_name("audit trim")
