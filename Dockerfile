# The site and its workers: one image, two commands (docs/start.md). Another base needs Python 3.11 or newer with venv.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# requirements-redis.lock for a queue in Redis, requirements-dev.lock for a trial: it has the embedded AWS.
ARG LOCK=requirements.lock
COPY . /source
RUN LOCK="${LOCK}" /source/deploy/build.sh /srv/nova-admin

FROM ${BASE}
# By its number a host sees that it isn't root. It may write to one folder alone, where a trial's embedded AWS keeps its
# secrets: the site itself keeps nothing on the disk.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin nova && \
    install -d -o nova -m 700 /var/lib/nova-admin
COPY --from=build /srv/nova-admin /srv/nova-admin
WORKDIR /srv/nova-admin
ENV PATH="/srv/nova-admin/venv/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "deploy/check_health.py"]
CMD ["gunicorn", "-c", "deploy/gunicorn.conf.py", "nova_admin.wsgi"]
