#!/usr/bin/env python
"""Runs the management commands; says in one line why it can't, where a setting or the database is missing."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nova_admin.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(_usage_error(f"Not configured: {error}"))
    except OperationalError as error:
        sys.exit(_usage_error(f"The database does not answer: {str(error).splitlines()[0]}"))


def _usage_error(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
