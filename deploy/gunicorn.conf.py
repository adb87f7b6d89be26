"""Configures the site's web server: `gunicorn -c deploy/gunicorn.conf.py nova_admin.wsgi`.

Reads BIND_ADDRESS, PORT, WEB_CONCURRENCY and REQUEST_SECONDS (docs/start.md).
"""

import os
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nova_admin.environment import load_env_file
from nova_admin.logs import make_logging

load_env_file()

bind = f"{os.environ.get('BIND_ADDRESS', '0.0.0.0')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY", "3"))
# A thread is given a request once that has come whole, within REQUEST_SECONDS: nobody holds one by sending slowly.
worker_class = "nova_admin.web_server.GatheringWorker"
# A page that waits for AWS leaves room for others, and for whoever asks whether the site lives.
threads = 4
# It would wait for a slow reader as often as that one takes a piece; the worker's own way of sending doesn't.
sendfile = False
# A page that has to write to AWS for a client gives up long before.
timeout = 90
graceful_timeout = 60
# In memory, as the disk may be read-only.
memory = Path("/dev/shm")
worker_tmp_dir = str(memory) if memory.is_dir() else None
control_socket_disable = True
# The memory of these processes holds credentials: no copy of it is left on a disk.
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
# No access log: addresses hold what people searched for. The proxy in front of the site has one.
accesslog = None
logconfig_dict = make_logging(
    os.environ.get("NOVA_LOG_FORMAT") or "text", (os.environ.get("LOG_LEVEL") or "INFO").upper()
)
logconfig_dict["loggers"]["gunicorn.error"] = {"handlers": [], "propagate": True, "level": "INFO"}
