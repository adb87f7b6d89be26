"""The site's log while something is done, and tasks done as a worker process does them."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Queue, Value

from django.utils.log import AdminEmailHandler
from django_q.brokers import get_broker
from django_q.monitor import monitor
from django_q.signing import SignedPackage
from django_q.tasks import async_task
from django_q.worker import worker

from nova_admin.logs import JsonFormatter, TextLogFormatter, make_logging
from tests.haystack import TextsOfExceptions, at_levels


@contextmanager
def written_log() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """What the site's log holds, as lines and as JSON. A handler of somebody else's formats each record before."""
    others = logging.StreamHandler(io.StringIO())
    others.setFormatter(TextsOfExceptions())
    lines, objects = io.StringIO(), io.StringIO()
    handlers = [others, logging.StreamHandler(lines), logging.StreamHandler(objects)]
    handlers[1].setFormatter(TextLogFormatter())
    handlers[2].setFormatter(JsonFormatter())
    mails = AdminEmailHandler()
    mails.setLevel("ERROR")
    mails.addFilter(make_logging("text", "INFO", mails_errors=True)["filters"]["once"]["callback"])
    mails.setFormatter(TextLogFormatter())
    root = logging.getLogger()
    before, root.handlers = root.handlers, [*handlers, mails]
    try:
        with at_levels({"": logging.INFO, "django": logging.INFO, "django-q": logging.INFO}):
            yield lines, objects
    finally:
        root.handlers = before


def run_task(function: str, *arguments: object) -> None:
    """Queue a task, and run it as a worker process does."""
    async_task(function, *arguments)
    run_queued_tasks()


def run_queued_tasks() -> None:
    """Run what is queued as a worker process does, and store the results as the monitor does."""
    broker, queued, done = get_broker(), Queue(), Queue()
    for ack_id, package in broker.dequeue():
        queued.put({**SignedPackage.loads(package), "ack_id": ack_id})
    queued.put("STOP")
    worker(queued, done, Value("f", -1))
    done.put("STOP")
    monitor(done, broker)
