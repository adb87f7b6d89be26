#!/bin/sh
# Makes a site that can be run out of this checkout: its environment, its files, its static files. The Dockerfile and a plain
# machine use the same steps:
#
#     deploy/build.sh /srv/nova-admin
#
# LOCK names another lock: requirements-redis.lock has the client of a queue in Redis too, requirements-dev.lock also
# the embedded AWS. An environment that is in the folder already is used as it is. Nothing is started, and neither a
# database nor AWS is asked.
set -eu

[ $# -eq 1 ] || { echo "usage: deploy/build.sh FOLDER" >&2; exit 2; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
target=$(cd "$1" && pwd)
python="$target/venv/bin/python"

if [ ! -x "$python" ]; then
    # Nothing is installed whose hash is not in the lock.
    "${PYTHON:-python3}" -m venv "$target/venv"
    "$python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --require-hashes \
        -r "$source/${LOCK:-requirements.lock}"
fi

for part in .env.example manage.py credentials migration nova_admin nova_credentials templates static locale docs deploy; do
    rm -rf "${target:?}/$part"
    cp -R "$source/$part" "$target/"
done

cd "$target"
key=$("$python" -c "import secrets; print(secrets.token_urlsafe(64))")
# Settings that the static files need and that nobody keeps.
env DEBUG= SECRET_KEY="$key" ALLOWED_HOSTS=example.invalid DATABASE_URL=postgresql:///unused \
    AWS_ENDPOINT_URL_SECRETS_MANAGER= AWS_ENDPOINT_URL= AWS_ACCESS_KEY_ID=build AWS_SECRET_ACCESS_KEY=build \
    "$python" manage.py collectstatic --noinput --clear --verbosity 0
# Whoever runs the site may not write here, so its modules are compiled now.
"$python" -m compileall -q manage.py credentials migration nova_admin nova_credentials
