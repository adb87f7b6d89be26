"""`resume_run`: the former name of `run resume`."""

from migration.management.names import make_old_name

Command = make_old_name("run resume")
