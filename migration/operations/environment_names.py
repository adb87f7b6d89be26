"""Names the environment of this site, for its pages and what it sends."""

from django.conf import settings
from django.utils.translation import gettext as _


def name_environment() -> tuple[str, bool]:
    """Return the environment's name and whether it is production, which a site outside development is if unnamed."""
    if name := settings.NOVA_ENVIRONMENT:
        return name, name.casefold().startswith("prod")
    if settings.NOVA_DEMO:
        return _("Demo"), False
    return (_("Development"), False) if settings.DEBUG else (_("Production"), True)
