#!/bin/sh
# Makes a site that can be run out of this checkout: its environment, its files, its static files, NOVA's package. The
# Dockerfile and a plain machine use the same steps, and the next release goes into the same folder:
#
#     deploy/build.sh /srv/nova-admin
#
# LOCK names another lock: requirements-redis.lock has the client of a queue in Redis too, requirements-dev.lock also the
# embedded AWS. PYTHON names another interpreter, as in PYTHON=/usr/bin/python3 deploy/build.sh /srv/nova-admin. As root it has to
# be one that the units' user can run too; NOVA_USER names another user, as for nova-admin. The environment is made anew where
# lock or interpreter differ from those that it was made of. Nothing is started, and neither a database nor AWS is asked.
#
# All is made beside what is there, and put in its place by renames, the package nova_admin last. Without it nothing runs: so a
# build that was killed left the former site, or none, and the next one does it all.
set -eu
umask 022

refuse() { echo "deploy/build.sh: $1" >&2; exit 2; }

usage="usage: [PYTHON=/usr/bin/python3] [LOCK=requirements.lock] deploy/build.sh FOLDER"
case "${1-}" in -h|--help) echo "$usage"; exit ;; esac
[ $# -eq 1 ] || { echo "$usage" >&2; exit 2; }
case "$1" in -*) echo "$usage" >&2; exit 2 ;; esac
source=$(cd "$(dirname "$0")/.." && pwd)
maker=${PYTHON:-python3}
lock=$source/${LOCK:-requirements.lock}
[ -f "$lock" ] || refuse "there is no $lock: LOCK names requirements.lock, requirements-redis.lock or requirements-dev.lock."
[ ! -e "$1" ] || [ -d "$1" ] || refuse "$1 is a file: name a folder."
command -v "$maker" > /dev/null || refuse "there is no $maker: PYTHON names the interpreter, as in PYTHON=/usr/bin/python3."
"$maker" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    refuse "$maker is older than Python 3.11: PYTHON names another, as in PYTHON=/usr/bin/python3."
if [ "$(id -u)" = 0 ] && [ "${NOVA_USER:-nova-admin}" != root ]; then
    # The units run as another user, who has to get to the interpreter itself, wherever links lead.
    shut=$("$maker" -c '
import os, sys
from pathlib import Path
program = Path(os.path.realpath(sys.executable))
print(next((each for each in reversed(program.parents) if not each.stat().st_mode & 0o001), ""))')
    [ -z "$shut" ] || refuse "$maker is below $shut, where the user of the units can't get to. Choose a Python for everybody: \
PYTHON=/usr/bin/python3 deploy/build.sh $1"
fi
mkdir -p "$1" || refuse "$1 can't be made."
target=$(cd "$1" && pwd)
[ -w "$target" ] || refuse "$target can't be written: run this as its owner."
[ ! -e "$target/pyproject.toml" ] || refuse "$target is a checkout: name a folder for the site alone."
[ -e "$target/nova_admin" ] || [ -e "$target/.old" ] || [ -z "$(ls "$target")" ] ||
    refuse "$target holds something else: name a folder for the site alone."
exec 9<"$target"
flock -n 9 || refuse "another build of $target is at work."

new=$target/.building
old=$target/.old
rm -rf "$new" "$old"
mkdir "$new" "$old"

version=$("$maker" -c '
import hashlib, sys
print(hashlib.sha256(sys.version.encode() + open(sys.argv[1], "rb").read()).hexdigest()[:16])' "$lock")
environment=$target/venv-$version
python=$environment/bin/python
if [ ! -e "$environment/complete" ] || ! "$python" -c "" 2>/dev/null; then
    rm -rf "$environment"
    # Nothing is installed whose hash is not in the lock.
    "$maker" -m venv "$environment"
    "$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes -r "$lock"
    touch "$environment/complete"
fi

parts="manage.py credentials migration nova_credentials templates static locale docs deploy .env.example"
for part in $parts nova_admin; do
    cp -R "$source/$part" "$new/"
done
ln -s deploy/nova-admin "$new/nova-admin"
cd "$new"
# By what is installed here: nothing is downloaded.
"$python" -m pip wheel --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
    --wheel-dir wheels "$source"
"$python" manage.py collectstatic --noinput --clear --verbosity 0
# Whoever runs the site may not write here, so its modules are compiled now.
find . -name __pycache__ -prune -exec rm -rf {} +
"$python" -m compileall -q credentials migration nova_admin nova_credentials
chmod -R u+rwX,go+rX,go-w .
cd "$target"

for part in nova_admin $parts wheels staticfiles nova-admin venv; do
    [ ! -e "$target/$part" ] && [ ! -L "$target/$part" ] || mv "$target/$part" "$old/"
done
ln -s "venv-$version" "$target/venv"
for part in $parts wheels staticfiles nova-admin nova_admin; do
    mv "$new/$part" "$target/"
done
rm -rf "$old" "$new" __pycache__
for former in venv-*; do
    [ "$former" = "venv-$version" ] || rm -rf "$former"
done
echo "Built: $target, with $("$target/venv/bin/python" -V)."
