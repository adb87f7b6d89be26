"""Makes the patch by which NOVA's code reads clients through the package. Writes nothing into NOVA's folder."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from pathlib import Path

from nova_credentials import VERSION, reader

HELPER = "src/models/credentials.py"
LINE = "from nova_credentials.reader import *"
# NOVA's .gitignore has dist/, as Python's own list of such folders; vendor/ is in neither.
FOLDER = "vendor"
WHEEL = f"nova_credentials-{VERSION}-py3-none-any.whl"
REQUIREMENT = f"./{FOLDER}/{WHEEL}[binary]"
REQUIREMENTS, DOCKERFILE = "requirements.txt", "Dockerfile"
IGNORE_FILES = (".gitignore", ".dockerignore")
GIT_SECONDS = 60


class PatchError(Exception):
    """The patch can't be made for this folder; the text names the file and says why."""


def make_patch(tree: Path, wheel: Path | None = None) -> str:
    """Return the patch, which `git apply` takes in the folder of NOVA's code; "" where nothing is to change.

    A wheel is part of it where NOVA's code needs it and lacks it. Raises PatchError.
    """
    git = shutil.which("git")
    if git is None:
        raise PatchError(
            "git is not installed here, and the patch is tried with it: apt-get install git."
        )
    changed = {}
    for name, change in (
        (REQUIREMENTS, _require),
        (HELPER, _replace_helper),
        (DOCKERFILE, _copy_wheel),
    ):
        if name == DOCKERFILE and not (tree / name).exists():
            continue  # NOVA runs without one
        before = _read(tree, name)
        try:
            changed[name] = before, change(before)
        except PatchError as error:
            raise PatchError(f"{name}: {error}") from None
    for name in IGNORE_FILES:
        if (tree / name).exists() and _ignores_wheel(git, tree / name):
            before = _read(tree, name)
            changed[name] = before, _append(before, f"!/{FOLDER}/", f"!/{FOLDER}/{WHEEL}")
    inside = _run(git, "rev-parse", "--show-prefix", cwd=tree)
    prefix = inside.stdout.strip() if inside.returncode == 0 else ""
    patch = "".join(_diff(f"{prefix}{name}", *texts) for name, texts in sorted(changed.items()))
    is_needed = REQUIREMENT in changed[REQUIREMENTS][1].splitlines()
    if wheel is not None and is_needed and not (tree / FOLDER / WHEEL).exists():
        patch += _add_file(git, f"{prefix}{FOLDER}/{WHEEL}", wheel.read_bytes())
    if patch:
        tried = _run(git, "apply", "--check", "-", cwd=tree, text=patch)
        if tried.returncode:
            told = "; ".join(line.removeprefix("error: ") for line in tried.stderr.splitlines())
            raise PatchError(f"git does not take it: {told}")
    return patch


def _read(tree: Path, name: str) -> str:
    try:
        return (tree / name).read_bytes().decode()
    except FileNotFoundError:
        raise PatchError(f"{name} is not in {tree}: is that the folder of NOVA's code?") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PatchError(f"{name} can't be read ({type(error).__name__}).") from None


def _require(text: str) -> str:
    lines = [line.lower().replace("_", "-") for line in text.splitlines()]
    if any(re.match(r"(\./\S*/)?nova-credentials\b", line) for line in lines):
        return text
    return _append(text, REQUIREMENT)


def _copy_wheel(text: str) -> str:
    """Have the wheel in the image before what it requires is installed."""
    lines, has_all = _split(text), False
    for at, line in enumerate(lines):
        instruction = line
        for more in lines[at + 1 :]:
            if not instruction.rstrip().endswith("\\"):
                break
            instruction += more
        if re.match(r"\s*FROM\s", line, re.IGNORECASE):
            has_all = False
        elif re.match(rf"\s*COPY\s+(--\S+\s+)*(\.|\./|{FOLDER}/?)\s", line, re.IGNORECASE):
            has_all = True
        elif re.match(r"\s*RUN\s", line, re.IGNORECASE) and REQUIREMENTS in instruction:
            if not has_all:
                lines.insert(at, f"COPY {FOLDER}/ {FOLDER}/{_find_line_end(text)}")
            return "".join(lines)
    raise PatchError(
        f"no RUN that installs {REQUIREMENTS} was found. Copy {FOLDER}/ before it by hand."
    )


def _replace_helper(text: str) -> str:
    """Put the one line in place of what the reader has, and of what nothing else in the file uses then."""
    if re.search(r"^from nova_credentials\.reader import ", text, re.MULTILINE):
        return text
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise PatchError(f"line {error.lineno} is no Python that this release reads.") from None
    ours = {name for node in body for name in _list_bound(node)} & set(reader.__all__)
    if "get_client_id" not in ours:
        raise PatchError("NOVA's helper, with get_client_id, is not in it.")
    is_head = [_is_docstring(node, at) or _is_from_future(node) for at, node in enumerate(body)]
    kept = [node for node in body if not ours.intersection(_list_bound(node))]
    while True:
        used = {name for node in kept if not _is_import(node) for name in _list_used(node)}
        still = [node for node in kept if not _is_unused(node, used)]
        if len(still) == len(kept):
            break
        kept = still
    lines, end = _split(text), _find_line_end(text)
    gone = set[int]()
    for at, node in enumerate(body):
        if node not in kept and not is_head[at]:
            gone.update(range(_find_first_line(node, lines), (node.end_lineno or node.lineno) + 1))
    head = next((at for at, line in enumerate(lines) if not line.startswith("#")), 0)
    head = max([head, *(node.end_lineno or 0 for at, node in enumerate(body) if is_head[at])])
    first, rest = (
        "".join(
            line
            for number, line in enumerate(lines, 1)
            if number not in gone and (number <= head) == is_first
        )
        for is_first in (True, False)
    )
    blank = end if first else ""
    rest = re.sub(rf"({end}){{4,}}", end * 3, rest).strip("\r\n")
    return f"{first}{blank}{LINE}{end}" + (f"{end}{rest}{end}" if rest else "")


def _list_bound(node: ast.stmt) -> list[str]:
    """Return the names that a statement of the module binds."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [(each.asname or each.name).partition(".")[0] for each in names]
        case ast.Assign(targets=targets):
            return [each.id for each in targets if isinstance(each, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _list_used(node: ast.stmt) -> Iterator[str]:
    own = set(_list_bound(node))
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and each.id not in own:
            yield each.id
        elif isinstance(each, ast.Constant) and isinstance(each.value, str) and "__all__" in own:
            yield each.value


def _is_unused(node: ast.stmt, used: set[str]) -> bool:
    """Say whether nobody needs it: an import or a private name that nothing uses. A public one may be imported."""
    names = _list_bound(node)
    if not names or _is_from_future(node) or used.intersection(names):
        return False
    return _is_import(node) or all(name.startswith("_") and name != "__all__" for name in names)


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_from_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _is_docstring(node: ast.stmt, at: int) -> bool:
    return at == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _find_first_line(node: ast.stmt, lines: list[str]) -> int:
    """Return the number of the first line of the statement, with its decorators and the comment right above it."""
    decorators: Iterable[ast.expr] = getattr(node, "decorator_list", ())
    first = min([node.lineno, *(each.lineno for each in decorators)])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return first


def _append(text: str, *added: str) -> str:
    end = _find_line_end(text)
    whole = text if text.endswith("\n") or not text else f"{text}{end}"
    return whole + "".join(f"{line}{end}" for line in added)


def _split(text: str) -> list[str]:
    """Return the lines as git and Python count them, each with its end."""
    return re.findall(r"[^\n]*\n|[^\n]+\Z", text)


def _find_line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _ignores_wheel(git: str, file: Path) -> bool:
    """Say whether the rules of this file alone would leave the wheel out of NOVA's repository, or of its image."""
    with tempfile.TemporaryDirectory() as folder:
        _run(git, "init", "--quiet", cwd=Path(folder))
        found = _run(
            git, "-c", f"core.excludesFile={file.resolve()}", "check-ignore", "--quiet", f"{FOLDER}/{WHEEL}",
            cwd=Path(folder),
        )  # fmt: skip
    return found.returncode == 0


def _diff(name: str, before: str, after: str) -> str:
    if before == after:
        return ""
    lines = unified_diff(_split(before), _split(after), f"a/{name}", f"b/{name}")
    # With git's own line first, as the package's part has it, git guesses no folder.
    return f"diff --git a/{name} b/{name}\n" + "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _add_file(git: str, name: str, content: bytes) -> str:
    """Return git's own patch that makes this file, whatever is in it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        for arguments in (("init", "--quiet"), ("add", "--force", name)):
            _run(git, *arguments, cwd=Path(folder))
        plain = ("--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/")
        return _run(git, "diff", "--cached", "--binary", *plain, cwd=Path(folder)).stdout


def _run(git: str, *arguments: str, cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # git, with names that are ours
        [git, *arguments], cwd=cwd, input=text, capture_output=True, text=True, check=False,
        timeout=GIT_SECONDS,
    )  # fmt: skip
