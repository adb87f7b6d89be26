"""Makes `docs/settings.md` of `.env.example`: every setting, its default and its meaning. `make commands` writes it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "settings.md"
EXAMPLE = ROOT / ".env.example"
NAMED = re.compile(r"#?([A-Z][A-Z0-9_]*)=(.*)")
HEAD = """<!-- Made of .env.example by `make commands`. -->
# Settings
"""


def write_document(example: str) -> str:
    """The whole page, of the text of `.env.example`."""
    head, *parts = re.split(r"^## ", example, flags=re.MULTILINE)
    lines = [HEAD, show_text(head.splitlines()), ""]
    for part in parts:
        title, *rest = part.splitlines()
        lines += [f"## {title}", *describe_part(rest), ""]
    return "\n".join(lines)


def describe_part(lines: list[str]) -> Iterator[str]:
    """The text that stands before any setting, then a row for each paragraph and the settings below it."""
    table_begun, said, named = False, [], []
    for line in [*lines, "# "]:
        setting = NAMED.fullmatch(line)
        if setting:
            named.append(setting)
            continue
        if named:
            if not table_begun:
                yield from ("", "| setting | default | meaning |", "|---|---|---|")
            table_begun = True
            names, defaults = zip(*(each.groups() for each in named), strict=True)
            shown = [f"`{each}`" if each else "–" for each in defaults]
            yield f"| {show_names(names)} | {', '.join(shown)} | {show_text(said)} |"
            said, named = [], []
        if line.startswith("#"):
            said.append(line)
        elif said:
            yield show_text(said)
            said = []


def show_names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def show_text(lines: list[str]) -> str:
    """The comment as a paragraph: pages of the manual are links, and no sign means anything to Markdown."""
    text = " ".join(line.lstrip("#").strip() for line in lines if line.startswith("#"))
    plain = re.split(r"(`[^`]*`)", text)  # every other one is code
    plain[::2] = [re.sub(r"([<|*_\[\]])", r"\\\1", each) for each in plain[::2]]
    text = "".join(plain)
    return re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", text)


if __name__ == "__main__":
    example = Path(sys.argv[1]) if sys.argv[1:] else EXAMPLE
    DOCUMENT.write_text(write_document(example.read_text("utf-8")), "utf-8")
