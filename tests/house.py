"""`docs/house.svg`: packages and drawers in the order in which they may import, each with its modules by name.

`python -m tests.house` draws it from import-linter's layers in pyproject.toml and the first line of each module; a test
fails where it differs.
"""

import textwrap
import tomllib
from html import escape
from pathlib import Path

from tests.checkout import ROOT

PICTURE = ROOT / "docs/house.svg"
WIDTH, ARROW, PADDING, GAP = 1140, 36, 14, 8
# What a title, a further line of its sentence and a line of names take.
TITLE_HEIGHT, TEXT_HEIGHT, NAMES_HEIGHT = 30, 17, 27
# A character of a title, of a name, and of a sentence in the widest font that is usual.
TITLE_CHARACTER, NAME_CHARACTER, TEXT_CHARACTER = 9.1, 7.5, 6.6
MONOSPACE = "ui-monospace, monospace"
# On a light background, and on a dark one.
COLOURS = {
    "ground": ("#ffffff", "#020617"),
    "package": ("#f1f5f9", "#1e293b"),
    "drawer": ("#ffffff", "#0f172a"),
    "module": ("#e0e7ff", "#312e81"),
    "edge": ("#94a3b8", "#64748b"),
    "name": ("#0f172a", "#f1f5f9"),
    "sentence": ("#475569", "#cbd5e1"),
}
# Files of a kind that the picture counts as one.
CLOSED = {"commands", "templatetags"}


def draw_house() -> str:
    """Return the whole picture."""
    parts, height = draw_rows(read_layers("nova_admin"), WIDTH, within="")
    dark = "".join(f".{name}{{fill:{dark}}}" for name, (_, dark) in COLOURS.items())
    grey, dark_grey = COLOURS["edge"]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {ARROW + WIDTH + GAP} {height + 2 * GAP:g}"'
        ' font-family="system-ui, sans-serif" font-size="13" role="img"'
        ' aria-label="Packages and drawers; each may import what lies below it">'
    )
    arrow = (
        f'<path d="M18 {GAP}V{height}m-6 -10l6 10l6 -10" fill="none" stroke="{grey}" stroke-width="2"/>'
        f'<g transform="translate(14 {height / 2:g}) rotate(-90)">'
        + draw_text("sentence", "imports run downwards", 0, 0, ' text-anchor="middle"')
        + "</g>"
    )
    return "\n".join(
        [
            head,
            f"<style>@media (prefers-color-scheme: dark){{{dark}.package,.drawer,path{{stroke:{dark_grey}}}}}</style>",
            f'<rect class="ground" width="100%" height="100%" fill="{COLOURS["ground"][0]}"/>',
            arrow,
            f'<g transform="translate({ARROW} {GAP})">',
            *parts,
            "</g>",
            "</svg>\n",
        ]
    )


def read_layers(top: str) -> list[list[str]]:
    """Return the layers of the contract that begins with this module; a layer holds one or several."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (
        each["layers"] for each in settings["contracts"] if each.get("layers", [""])[0] == top
    )
    return [layer.split(" | ") for layer in layers]


def draw_rows(rows: list[list[str]], width: float, *, within: str) -> tuple[list[str], float]:
    """Draw rows of packages, one below the other; return their parts, and how high they are together."""
    parts, height = [], 0.0
    for row in rows:
        each = (width - GAP * (len(row) - 1)) / len(row)
        drawn = [draw_package(name, each, within=within) for name in row]
        highest = max(inner for _, inner in drawn)
        for number, (inner, _) in enumerate(drawn):
            parts += [
                f'<g transform="translate({number * (each + GAP):g} {height:g})">',
                draw_box("drawer" if within else "package", each, highest),
                *inner,
                "</g>",
            ]
        height += highest + GAP
    return parts, height - GAP


def draw_package(name: str, width: float, *, within: str) -> tuple[list[str], float]:
    """Draw a package without its box: name and sentence, modules, packages in it; return parts and height."""
    folder, shown = ROOT / name.replace(".", "/"), name.removeprefix(within)
    title = f' font-family="{MONOSPACE}" font-size="15" font-weight="600"'
    parts = [draw_text("name", shown, PADDING, 20, title)]
    beside = PADDING + len(shown) * TITLE_CHARACTER + 14
    characters = int((width - PADDING - beside) / TEXT_CHARACTER)
    lines = textwrap.wrap(read_first_line(folder), characters) or [""]
    for number, line in enumerate(lines):
        parts.append(draw_text("sentence", line, beside, 20 + number * TEXT_HEIGHT))
    height = TITLE_HEIGHT + TEXT_HEIGHT * (len(lines) - 1)

    modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    rows: list[list[str]] = []
    for path in sorted(file.parent for file in folder.glob("*/__init__.py")):
        if path.name in CLOSED or len(list(path.glob("*.py"))) == 1:
            modules.append(path)
        elif path.name != "migrations":
            rows.append([f"{name}.{path.name}"])
    if name == "migration":
        drawers = read_layers("migration.doctor")
        rows = [row for row in rows if not any(row[0] in drawer for drawer in drawers)] + drawers
    if name == "nova_credentials":
        rows = [row for row in read_layers("nova_credentials.reader") if row in rows]
    inner = width - 2 * PADDING
    contents = [draw_names(modules, inner), draw_rows(rows, inner, within=f"{name}.")]
    if name == "nova_credentials":  # its packages import its modules
        contents.reverse()
    for drawn, taken in contents:
        if drawn:
            parts += [f'<g transform="translate({PADDING} {height:g})">', *drawn, "</g>"]
            height += taken + GAP
    return parts, height


def draw_names(paths: list[Path], width: float) -> tuple[list[str], float]:
    """Draw modules as their names, in as many lines as they need; return parts and height."""
    parts, left, height = [], 0.0, 0.0
    for path in paths:
        taken = len(path.stem) * NAME_CHARACTER + 16
        if left + taken > width:
            left, height = 0, height + NAMES_HEIGHT
        first_line = escape(read_first_line(path), quote=False)
        parts += [
            f'<g transform="translate({left:g} {height:g})"><title>{first_line}</title>',
            draw_box("module", taken, NAMES_HEIGHT - 5, edge="none"),
            draw_text("name", path.stem, 8, 16, f' font-family="{MONOSPACE}" font-size="12.5"'),
            "</g>",
        ]
        left += taken + 6
    return parts, height + NAMES_HEIGHT - 5


def read_first_line(path: Path) -> str:
    """Return the first line of what a module or package says of itself, or nothing."""
    file = path / "__init__.py" if path.is_dir() else path
    first = file.read_text().partition("\n")[0]
    return first.strip('"') if first.startswith('"""') else ""


def draw_box(kind: str, width: float, height: float, *, edge: str = COLOURS["edge"][0]) -> str:
    return (
        f'<rect class="{kind}" width="{width:g}" height="{height:g}" rx="5"'
        f' fill="{COLOURS[kind][0]}" stroke="{edge}"/>'
    )


def draw_text(kind: str, text: str, left: float, base: float, more: str = "") -> str:
    return (
        f'<text class="{kind}" x="{left:g}" y="{base:g}" fill="{COLOURS[kind][0]}"{more}>'
        f"{escape(text, quote=False)}</text>"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw_house())
