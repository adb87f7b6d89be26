"""`start_campaign`: the former name of `campaign start`."""

from migration.management.names import make_old_name

Command = make_old_name("campaign start")
