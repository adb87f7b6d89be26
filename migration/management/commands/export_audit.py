"""`export_audit`: the former name of `audit export`."""

from migration.management.names import make_old_name

Command = make_old_name("audit export")
