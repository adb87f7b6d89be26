"""The settings of benchmarks: development's, as AWS's stand-in speaks no TLS, but for what development costs."""

from nova_admin.settings import *  # noqa: F403

# In development Django keeps every statement in memory.
DEBUG = False
