"""`docs/commands.md`: what each command does and takes, as its own `--help` says.

`python -m tests.command_document` writes it; a test fails where it differs.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import django
from django.core.management import BaseCommand, get_commands, load_command_class

DOCUMENT = Path(__file__).resolve().parent.parent / "docs/commands.md"
# In the order in which somebody needs them, each with the page that tells more.
SUBJECTS = {
    "Clients come in": {
        "import_clients": "migrate",
        "group": "migrate",
        "set_owner": "people",
    },
    "To AWS, and back": {
        "migrate_clients": "migrate",
        "compare_clients": "migrate",
        "acknowledge_mismatches": "migrate",
        "move_clients": "migrate",
        "campaign": "migrate",
        "push_pending": "migrate",
        "run": "migrate",
        "change_layout": "secrets",
        "client_status": "migrate",
        "offboard_client": "migrate",
    },
    "Logins": {"test_logins": "secrets", "rotate_credential": "secrets"},
    "NOVA's database": {
        "doctor": "runbooks",
        "check_nova": "runbooks",
        "find_copies": "nova",
        "nova_tables": "nova",
    },
    "AWS": {
        "check_aws": "secrets",
        "iam_policy": "secrets",
        "cost_estimate": "secrets",
        "apply_secret_settings": "secrets",
        "aws_writes": "run",
        "claim_database": "run",
    },
    "The site": {
        "make_settings": "start",
        "adopt": "start",
        "uninstall": "start",
        "migrate": "run",
        "invite_administrator": "people",
        "createsuperuser": "people",
        "changepassword": "people",
        "qcluster": "start",
        "send_notices": "run",
        "audit": "audit",
        "reset_second_factor": "people",
        "encrypt_anew": "secrets",
        "demo": "start",
        "aws_conditions": "start",
    },
}
HEAD = """\
# Commands
Each is `python manage.py NAME`. This page is made of what `--help` says (`make commands`).

| most take | |
|---|---|
| `SLUG…`, `--group NAME`, `--all-in PHASE`, `--all` | these clients, those of a group or in a phase, or all |
| `--by USER`, `--reason REASON` | the user in whose name it is done, and why; both are kept |
| `--dry-run` | print what would be done, write nothing |
| `--inline` | in this process, without workers |
| `--yes` | without a question, also over a selection |
| `--format json` | one object or list on standard output, instead of text |

`--help` has all that a command takes. It exits with 0 if all is well, 1 if something failed, was refused, differs or
was not begun, 2 if it was used wrongly.

What does something to clients begins at once if they are named by slug, or with `--inline` or `--yes`. Over a selection
it shows on a terminal how many would be done, and asks. Where nobody can be asked, as in a script, it begins, but for
what replaces or deletes secret values or overrides evidence: `rotate_credential`, `--overwrite`, `--adopt`,
`--schedule-deletion`, `--override`, `move_clients purged`. These need `--yes` or `--inline` there. Three commands never
ask: `compare_clients` and `test_logins` change nothing, and `push_pending` does what workers do within a minute. Nor do
`group add` and `group remove`, as groups are labels.

A command that waits for a run, makes a plan or moves up to 50 clients by itself shows on standard error how far it is:
a bar in a terminal, otherwise a line where something has changed. Ctrl-C leaves a run to the workers; with `--inline`
it ends the batches in work and stops the run (a second Ctrl-C ends the process at once). Either way the command exits
with 130, after a line that says what is done, what is not, and the `run resume` that goes on with the rest.
"""
# Every command of Django's has these.
OF_DJANGO = {
    "help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color",
    "skip_checks",
}  # fmt: skip
# Helps of what the head of the page tells.
TOLD_ONCE = {
    "the clients, by slug", "the clients of this group", "every client in this phase", "every client",
    "the user in whose name it is done", "json: one object on stdout", "kept with what is done",
    "print what would be done, write nothing", "in this process, without workers",
    "without a question, also over a selection",
}  # fmt: skip


def write_document() -> str:
    """The whole page; fails with a KeyError where a command of this project has no subject."""
    own = {
        name
        for name, app in get_commands().items()
        if app.startswith(("credentials", "migration", "nova_admin"))
    }
    named = {name for names in SUBJECTS.values() for name in names}
    # Of an `OldName` and a `CommandGroup`; their module can't be imported before Django is set up.
    former = {name: new for name in own if (new := getattr(load(name), "new_name", ""))}
    if own != named | former.keys():
        raise KeyError(", ".join(sorted(own ^ (named | former.keys()))))
    lines = [HEAD]
    for subject, names in SUBJECTS.items():
        lines.append(f"## {subject}\n")
        for name, page in names.items():
            command = load(name)
            words = getattr(command, "commands", {})
            for word, each in words.items():
                lines += describe_command(f"{name} {word}", each(), page)
            if not words:
                lines += describe_command(name, command, page)
    lines.append("## Former names\n")
    lines.append("They run for this release, and say on standard error what is typed now.\n")
    lines += ["| | |", "|---|---|"]
    lines += [f"| `{old}` | `{escape_cell(new)}` |" for old, new in sorted(former.items())]
    lines.append("| `--wave GROUP` | `--group NAME` |\n")
    return "\n".join(lines)


def load(name: str) -> BaseCommand:
    return load_command_class(get_commands()[name], name)


def describe_command(name: str, command: BaseCommand, page: str) -> Iterator[str]:
    parser = command.create_parser("manage.py", name)
    actions = [
        action
        for action in parser._actions
        if action.dest not in OF_DJANGO and action.help != argparse.SUPPRESS
    ]
    names = {action.dest for action in actions}
    djangos = list_djangos(command)
    usage = [name, *(show_action(action) for action in actions if not action.option_strings)]
    usage += ["| --group NAME | --all-in PHASE | --all"] * ("all_in" in names)
    yield f"### `{' '.join(usage)}`"
    yield f"{command.help} More: [{page}.md]({page}.md).\n"
    rows = [
        f"| `{escape_cell(show_action(action))}` | {escape_cell((action.help or '') % vars(action))} |"
        for action in actions
        if action.help not in TOLD_ONCE | djangos and (action.option_strings or action.help)
    ]
    if rows:
        yield "\n".join(["| | |", "|---|---|", *rows, ""])


def list_djangos(command: BaseCommand) -> set[str]:
    """Return the helps of what a command of Django's takes that this one is made of."""
    base = next(each for each in type(command).__mro__ if each.__module__.startswith("django."))
    if base.__module__ == BaseCommand.__module__:
        return set()
    return {action.help for action in base().create_parser("manage.py", "")._actions if action.help}


def escape_cell(text: str) -> str:
    return text.replace("|", "\\|")


def show_action(action: argparse.Action) -> str:
    """An argument as a usage line shows it: `--size N`, `SLUG…`, `client|service`."""
    formatter = argparse.HelpFormatter("")
    value = (
        formatter._metavar_formatter(
            action, (action.metavar if isinstance(action.metavar, str) else action.dest).upper()
        )(1)[0]
        .strip("{}")
        .replace(",", "|")
    )
    if not action.option_strings:
        return f"{value}…" if action.nargs in {"*", "+"} else value
    name = action.option_strings[-1]
    if action.nargs == 0:
        return name
    if action.nargs == "?":
        return f"{name} [{value}]"
    return f"{name} {value}…" if action.nargs in {"*", "+"} else f"{name} {value}"


if __name__ == "__main__":
    django.setup()
    DOCUMENT.write_text(write_document())
