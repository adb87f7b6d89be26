"""Hands on how names that others chose are shown: the package that NOVA installs shows them so too, in its logs."""

from nova_credentials.shown_names import escape_invisible, escape_name

__all__ = ["escape_invisible", "escape_name"]
