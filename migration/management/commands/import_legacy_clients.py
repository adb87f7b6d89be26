"""`import_legacy_clients`: the former name of `import_clients --legacy`."""

from migration.management.names import make_old_name

Command = make_old_name(
    "import_clients --legacy", lambda typed: ["import_clients", "--legacy", *typed]
)
