"""Hands on how names that others chose are shown: the package that NOVA installs shows them so too, in its logs."""

from nova_credentials.shown_names import show_name, show_text

__all__ = ["show_name", "show_text"]
