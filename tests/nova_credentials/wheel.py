"""Builds the wheel that NOVA installs, from this checkout and without a network, and serves it as a registry does."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from nova_credentials import VERSION
from tests.checkout import ROOT


def build_wheel(folder: Path) -> Path:
    """Build the wheel into the folder as `pip install .` does, and return its path."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, *offline, "--wheel-dir", str(folder), "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob(f"nova_credentials-{VERSION}-*.whl")
    return wheel


class QuietHandler(SimpleHTTPRequestHandler):
    """A simple index is nothing but folders that are listed; pip's requests need no log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
        pass


@contextmanager
def serve_index(wheel: Path, folder: Path) -> Iterator[str]:
    """Serve the wheel as the one package of a registry on this machine; yield its address for pip's --index-url."""
    project = folder / "simple" / "nova-credentials"
    project.mkdir(parents=True)
    shutil.copy(wheel, project)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
