"""Runs `manage.py COMMAND` with the units' settings alone and, as root, as their user, for `deploy/nova-admin`.

`adopt` and `make_settings` make these settings, so they run as whoever calls them, with their environment.
"""

import os
import pwd
import resource
import sys
from pathlib import Path
from typing import Never

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nova_admin.env_file import EnvFileError, read_env_file

FOLDER = Path(__file__).resolve().parent.parent
# Of whoever calls: how the terminal looks, and the address by which `uninstall` undoes what `adopt` did. No setting
# comes from there, as none does for the units.
KEPT = ("PATH", "TERM", "COLUMNS", "LINES", "NO_COLOR", "LANG", "LC_ALL", "TZ", "NOVA_DATABASE_URL")
COMMAND = [sys.executable, str(FOLDER / "manage.py"), *sys.argv[1:]]


def main() -> None:
    path = Path(os.environ.get("NOVA_ENV_FILE") or "/etc/nova-admin.env")
    if sys.argv[1:2] in (["adopt"], ["make_settings"]):
        own = {"NOVA_ENV_FILE": str(path), "NOVA_COMMAND": str(FOLDER / "nova-admin")}
        os.execve(sys.executable, COMMAND, os.environ | own)  # noqa: S606  # no shell is wanted
    try:
        found = read_env_file(path)
    except OSError as error:
        refuse(f"{path} can't be read ({error.strerror}). NOVA_ENV_FILE names another file.")
    except EnvFileError as error:
        refuse(f"Not configured: {error}")
    surroundings = {name: os.environ[name] for name in KEPT if name in os.environ} | found
    surroundings["NOVA_ENV_FILE"] = os.devnull  # all of it is in the environment
    surroundings["NOVA_COMMAND"] = str(FOLDER / "nova-admin")  # so what it prints can be typed
    # As in the units: the memory of these processes holds credentials.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    if os.geteuid() == 0:
        surroundings |= become(os.environ.get("NOVA_USER") or "nova-admin")
    try:
        os.execve(sys.executable, COMMAND, surroundings)  # noqa: S606  # no shell is wanted
    except PermissionError:
        refuse(
            f"{pwd.getpwuid(os.geteuid()).pw_name} may not run {os.path.realpath(sys.executable)}. Build the site again"
            f" with a Python for everybody: PYTHON=/usr/bin/python3 deploy/build.sh {FOLDER}"
        )


def become(name: str) -> dict[str, str]:
    """Give up root's rights for this user's; return what the environment says of them."""
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        refuse(
            f"There is no user {name}: systemd-sysusers {FOLDER}/deploy/systemd/nova-admin.conf makes it, and NOVA_USER"
            " names another."
        )
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    return {"HOME": user.pw_dir, "USER": name, "LOGNAME": name}


def refuse(why: str) -> Never:
    sys.stderr.write(f"{why}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
