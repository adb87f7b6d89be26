"""`map_column`: the former name of `nova_tables map`."""

from migration.management.names import make_old_name

Command = make_old_name("nova_tables map")
