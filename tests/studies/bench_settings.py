"""The settings of `whole_commands.py`: development's, as its AWS speaks no TLS, but for what development costs."""

from nova_admin.settings import *  # noqa: F403

# In development Django keeps every statement in memory.
DEBUG = False
