"""`campaign_status`: the former name of `campaign status`."""

from migration.management.names import make_old_name

Command = make_old_name("campaign status")
