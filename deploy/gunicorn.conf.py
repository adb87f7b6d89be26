"""Configures the site's web server: `gunicorn -c deploy/gunicorn.conf.py nova_admin.wsgi`.

Reads BIND_ADDRESS, PORT, WEB_CONCURRENCY and REQUEST_SECONDS, from the file of settings too.
"""

import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django.core.exceptions import ImproperlyConfigured

from nova_admin import environment
from nova_admin.logs import make_logging

try:
    environment.load_env_file()
    env = environment.Environment(
        DEBUG=(environment.parse_flag, False),
        **environment.SERVER_VARIABLES,
        **environment.LOG_VARIABLES,
    )
    env("REQUEST_SECONDS")  # nova_admin.web_server reads it, in each process
    bind = environment.read_bind_address(env)
    workers = env("WEB_CONCURRENCY")
    logconfig_dict = make_logging(environment.read_log_format(env), env("LOG_LEVEL"))
except ImproperlyConfigured as error:
    sys.exit(f"Not configured: {error}")
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
logconfig_dict["loggers"]["gunicorn.error"] = {"handlers": [], "propagate": True, "level": "INFO"}
