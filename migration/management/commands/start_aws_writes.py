"""`start_aws_writes`: the former name of `aws_writes start`."""

from migration.management.names import make_old_name

Command = make_old_name("aws_writes start")
