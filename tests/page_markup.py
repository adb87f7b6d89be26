"""What the templates in use hold that the policy is about: Alpine's expressions, scripts, styles, event attributes.

A template's tags are not run. Each `if` in an attribute is taken both ways, and a variable stands for the digit 1.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from django.conf import settings
from django.template.utils import get_app_template_dirs

# Unfold's for a package that isn't installed; nothing of the site's includes them.
NOT_IN_USE = ("unfold_crispy/",)
TAG = re.compile(r"\{#.*?#\}|\{%\s*comment.*?endcomment\s*%\}|\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
# One character of Unicode's private area stands for each tag, so that quotes in it don't end an attribute.
FIRST = 0xE000
MARK = re.compile(r"[\ue000-\uf8ff]")
ATTRIBUTE = re.compile(
    r"""(?<![\w:.-])((?:x-|@|:)[\w:.@-]+|on[a-z]+)\s*=\s*("[^"]*"|'[^']*')""", re.DOTALL
)
INLINE = re.compile(r"<(script|style)\b([^>]*)>", re.DOTALL)
# What these hold is a name, a selector or a class: nothing is evaluated.
NO_EXPRESSION = ("x-ref", "x-teleport", "x-transition", "x-cloak")


def find_templates() -> dict[str, Path]:
    """Return each template by its name, as the loaders find it: ours before Unfold's before Django's."""
    found: dict[str, Path] = {}
    for folder in (*settings.TEMPLATES[0]["DIRS"], *get_app_template_dirs("templates")):
        for path in sorted(Path(folder).rglob("*.html")):
            name = str(path.relative_to(folder))
            if not name.startswith(NOT_IN_USE):
                found.setdefault(name, path)
    return found


class Markup:
    """A template's text with a mark for each tag."""

    def __init__(self, text: str) -> None:
        self.tags: list[str] = []
        self.text = TAG.sub(self._mark, text)

    def _mark(self, found: re.Match[str]) -> str:
        self.tags.append(found[0])
        return chr(FIRST + len(self.tags) - 1)

    def _tag_of(self, mark: str) -> str:
        return self.tags[ord(mark) - FIRST]

    def _word_of(self, mark: str) -> str:
        tag = self._tag_of(mark)
        return tag[2:-2].split()[0] if tag.startswith("{%") else ""

    def find_attributes(self) -> Iterator[tuple[str, str]]:
        """Yield name and value of Alpine's attributes and of events, the value once for each way through its ifs."""
        for name, value in ATTRIBUTE.findall(self.text):
            for way in self._spell_out(value[1:-1]):
                yield name, " ".join(way.split())

    def find_expressions(self) -> Iterator[str]:
        """Yield what Alpine evaluates."""
        for name, value in self.find_attributes():
            if name.startswith(("x-", "@", ":")) and not name.startswith(NO_EXPRESSION):
                yield value.partition(" in ")[2] if name == "x-for" else value

    def find_inline(self) -> Iterator[str]:
        """Yield each <script> that isn't a file, and each <style> without a nonce."""
        for kind, attributes in INLINE.findall(self.text):
            if kind == "script" and "src=" not in attributes:
                yield f"<script{attributes}>"
            nonce = re.search(r'nonce="(.)"', attributes)
            if kind == "style" and not (
                nonce and self._tag_of(nonce[1]) == "{{ request.csp_nonce }}"
            ):
                yield f"<style{attributes}>"

    def _spell_out(self, value: str) -> Iterator[str]:
        """Yield the value as each combination of its ifs gives it."""
        cuts, depth = [], 0
        for found in MARK.finditer(value):
            word = self._word_of(found[0])
            depth += (word == "if") - (word == "endif")
            if (word, depth) in {("if", 1), ("elif", 1), ("else", 1), ("endif", 0)}:
                cuts.append(found)
            if (word, depth) == ("endif", 0):
                break
        if not cuts:
            yield MARK.sub(lambda found: "" if self._tag_of(found[0])[1] == "#" else "1", value)
            return
        branches = [value[left.end() : right.start()] for left, right in pairwise(cuts)]
        if "else" not in [self._word_of(cut[0]) for cut in cuts]:
            branches.append("")
        for branch in branches:
            yield from self._spell_out(value[: cuts[0].start()] + branch + value[cuts[-1].end() :])
