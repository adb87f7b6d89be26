"""NOVA's queue: files in a folder, where NOVA has Redis."""

from pathlib import Path

from celery import Celery


def make_app(folder: Path, *, queue: str = "queue") -> Celery:
    """Make NOVA's Celery app; its messages are files of the folder `queue`."""
    messages, results = folder / queue, folder / "results"
    for made in (folder / "queue", messages, results):
        made.mkdir(exist_ok=True)
    app = Celery("nova", broker="filesystem://", backend=results.as_uri(), fixups=[])
    app.conf.update(
        broker_transport_options={
            "data_folder_in": str(messages),
            "data_folder_out": str(messages),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.02,
        },
        broker_connection_retry_on_startup=False,
        worker_prefetch_multiplier=1,
    )
    return app


def send_workflow(app: Celery, folder: Path, slug: str):
    """Send one task, as NOVA's API does. The app's own queue is "written": workers could read a message too early."""
    task = app.send_task("src.worker.run_workflow", [slug])
    for message in (folder / "written").iterdir():
        message.rename(folder / "queue" / message.name)
    return task
