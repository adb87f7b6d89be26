#!/usr/bin/env python
"""Runs the management commands; prints one line where a setting, the database or a right is missing."""

import os
import sys

INTERRUPTED = 130  # a shell's exit code for Ctrl-C
PIPE_CLOSED = 141  # and for what SIGPIPE ends


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nova_admin.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    from nova_admin import environment

    try:
        if sys.argv[1:2] and sys.argv[1] in environment.WITHOUT_SETTINGS:
            environment.use_stand_in_settings()
        else:
            environment.load_env_file()
            if sys.stderr.isatty() and sys.argv[1:2] not in (["qcluster"], ["runserver"], ["demo"]):
                # Who typed the command reads what it says; its log would stand between those lines.
                os.environ.setdefault("LOG_LEVEL", "WARNING")
            if environment.is_development():
                _start_stores()
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(_print_usage_error(f"Not configured: {error}"))
    except DatabaseError as error:
        message = _describe_refusal(error)
        if not message:
            raise
        sys.exit(_print_usage_error(message))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _start_stores() -> None:
    from django.core.exceptions import ImproperlyConfigured

    try:
        from nova_admin.embedded.starting import start_stores
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(
            f"DEBUG=1 is for development, and {error.name} is not installed. Install requirements-dev.lock, or leave"
            " DEBUG empty and name the stores."
        ) from None
    start_stores()


def _describe_refusal(error: BaseException) -> str:
    """Say in one line what the database refused; return nothing for an error that a person can't repair."""
    from django.db import OperationalError
    from psycopg import Error, errors

    cause: BaseException | None = error
    while cause and not isinstance(cause, Error):
        cause = cause.__cause__ or cause.__context__
    match cause:
        case errors.UndefinedTable():
            return "The tables are not there, or this role may not use the schema nova_admin: run manage.py migrate."
        case errors.InsufficientPrivilege():
            # Only what PostgreSQL itself says, which names what is refused and nothing that is in it.
            said = cause.diag.message_primary or ""
            which = f": {said}" if said.startswith(("permission denied for ", "must be ")) else ""
            return f"This role lacks a right in the database{which or '; its log says which'}."
        case errors.LockNotAvailable():
            return "A table is in use; try again."
    return f"The database does not answer: {error}" if isinstance(error, OperationalError) else ""


def _print_usage_error(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def _leave_closed_pipe() -> int:
    """Drop what is still to be printed: Python would try it once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


if __name__ == "__main__":
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads has enough, as `head` does
        sys.exit(_leave_closed_pipe())
