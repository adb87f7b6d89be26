"""The WSGI application that a web server runs."""

import os

from django.core.wsgi import get_wsgi_application

from nova_admin.environment import load_env_file

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nova_admin.settings")
load_env_file()
application = get_wsgi_application()
