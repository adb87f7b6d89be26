"""Writes the log, as lines for people or as JSON, one object a line, and holds no value of an exception.

JSON has fixed entries: what a library adds to a record by `extra`, a whole request for one, is not among them.
"""

from __future__ import annotations

import json
import logging
import re
from copy import copy
from datetime import UTC, datetime
from typing import Any

from migration.core.correlation import current_correlation, describe_traceback

FORMATS = ("text", "json")
# Of a link to choose a password, which Django logs where such an address is refused: it may work still.
TOKEN_OF_LINK = re.compile(r"(/login/link/)[^/\s?]+")


def hide_tokens(text: str) -> str:
    """Return the text without the tokens of links by which people choose their passwords."""
    return TOKEN_OF_LINK.sub(r"\1***", text)


class TextLogFormatter(logging.Formatter):
    """Writes lines; the texts of exceptions that may hold a value are left out."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", style="{")

    def format(self, record: logging.LogRecord) -> str:
        own = copy(record)
        own.exc_text = None  # another formatter may have kept the whole text there
        return hide_tokens(super().format(own))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's own name
        return describe_traceback(ei[1]).rstrip("\n") if ei[1] is not None else ""


class JsonFormatter(logging.Formatter):
    """Writes one JSON object a line: time, level, logger, message, process; correlation and error if there are any."""

    def format(self, record: logging.LogRecord) -> str:
        entries: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": hide_tokens(record.getMessage()),
            "process": record.process,
        }
        if name := current_correlation():
            entries["correlation"] = name
        if record.exc_info and record.exc_info[1] is not None:
            entries["error"] = describe_traceback(record.exc_info[1])
        return json.dumps(entries, ensure_ascii=True)


def make_logging(log_format: str, level: str, *, mails_errors: bool = False) -> dict[str, Any]:
    """Return the configuration of `logging`, for the site and for the web server's own log."""
    formatter = JsonFormatter if log_format == "json" else TextLogFormatter
    handlers: dict[str, dict[str, object]] = {
        "console": {"class": "logging.StreamHandler", "formatter": "chosen"}
    }
    if mails_errors:
        handlers["mail"] = {
            "class": "nova_admin.reporting.ErrorMails",
            "level": "ERROR",
            "formatter": "line",
            "filters": ["once"],
        }
    quiet = ["boto3", "botocore", "urllib3", "django.db.backends"]
    if log_format != "json" and level != "DEBUG":
        quiet.append("migration.core.aws_store")  # a line a call is for machines to read
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": {"()": formatter}, "line": {"()": TextLogFormatter}},
        # Of a task that failed, the worker has mailed more than the queue says after it.
        "filters": {
            "once": {
                "()": "django.utils.log.CallbackFilter",
                "callback": lambda record: record.name != "django-q",
            }
        },
        "handlers": handlers,
        "root": {"handlers": list(handlers), "level": level},
        # At DEBUG botocore and urllib3 log whole requests with their secrets.
        "loggers": {name: {"level": "WARNING"} for name in quiet}
        | {
            "axes": {"level": "ERROR"},  # `migration` logs wrong passwords, in its own words
            # Django's own handlers would print lines twice in development, and mail errors twice.
            "django": {"handlers": [], "level": "INFO"},
        },
    }
