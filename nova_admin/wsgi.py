"""The WSGI application that a web server runs. It does not start behind a pooler where the site's locks don't hold."""

import os

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

from nova_admin.environment import load_env_file

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nova_admin.settings")
load_env_file()
application = get_wsgi_application()

from migration.core.audit_chain import record_process_start  # noqa: E402  # Django is set up now
from migration.doctor.nova import find_pooler_refusal  # noqa: E402  # the same
from nova_admin.watch import start_watch  # noqa: E402  # the same

if refusal := find_pooler_refusal():
    raise ImproperlyConfigured(str(refusal))
record_process_start()
start_watch()
