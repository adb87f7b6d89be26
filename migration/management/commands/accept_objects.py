"""`accept_objects`: the former name of `nova_tables accept`."""

from migration.management.names import make_old_name

Command = make_old_name("nova_tables accept")
