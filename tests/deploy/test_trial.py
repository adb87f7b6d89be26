"""compose.yaml: its services fit together, and its site works with its embedded AWS, here without containers."""

import os
import re
import secrets
import subprocess
import sys
from contextlib import ExitStack

import boto3
import yaml

from tests.checkout import ROOT, manage
from tests.deploy.test_plain_folder import SITE, Site, find_free_port, running
from tests.factories import nova_uri

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if name != "database"}
ENVIRONMENT = OURS["site"]["environment"]


def test_each_of_our_services_is_confined():
    assert OURS.keys() == {"aws", "migrate", "site", "worker", "nova"}
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["image"] == OURS["aws"]["image"]
    for name in OURS.keys() - {"nova"}:
        assert OURS[name]["environment"] == ENVIRONMENT


def test_nova_has_a_role_of_its_own_and_differs_in_nothing_else():
    nova = OURS["nova"]["environment"]
    roles = [re.match(r"postgresql://(\w+):", each["DATABASE_URL"]) for each in (ENVIRONMENT, nova)]

    assert [role[1] for role in roles] == ["nova_site", "nova"]
    assert nova | {"DATABASE_URL": ENVIRONMENT["DATABASE_URL"]} == ENVIRONMENT
    script = "./deploy/trial_database.sh:/docker-entrypoint-initdb.d/trial_database.sh:ro"
    assert script in SERVICES["database"]["volumes"]


def test_they_share_the_network_of_the_embedded_aws_and_only_this_machine_reaches_them():
    assert {n for n, service in OURS.items() if service.get("network_mode") == "service:aws"} == {
        *("migrate", "site", "worker", "nova")
    }
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:8000:8000"]


def test_its_settings_are_settings():
    known = set(re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    known |= {"NOVA_EMBEDDED_AWS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

    assert ENVIRONMENT.keys() <= known
    assert ENVIRONMENT["AWS_ENDPOINT_URL_SECRETS_MANAGER"] == ENVIRONMENT["NOVA_EMBEDDED_AWS"]
    assert OURS["aws"]["command"][-1] in ENVIRONMENT["NOVA_EMBEDDED_AWS"]


def test_development_without_its_packages_says_what_to_install():
    """As an image for production has none of them."""
    code = (
        "import runpy, sys; sys.modules['psutil'] = None; sys.argv = ['manage.py', 'check'];"
        " runpy.run_path('manage.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT | {"PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr == (
        "Not configured: DEBUG=1 is for development, and psutil is not installed. Install requirements-dev.lock, or"
        " leave DEBUG empty and name the stores.\n"
    )


def test_the_trial_works_with_its_embedded_aws(built_site, stores, tmp_path):
    port = str(find_free_port())
    endpoint = f"http://127.0.0.1:{port}"
    environment = ENVIRONMENT | {
        "SECRET_KEY": secrets.token_urlsafe(64),
        "DATABASE_URL": nova_uri(),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint,
        "NOVA_EMBEDDED_AWS": endpoint,
        "BIND_ADDRESS": "127.0.0.1",
        "PORT": str(find_free_port()),
    }
    folder = str(tmp_path / "aws")
    command = (*OURS["aws"]["command"][1:3], "--folder", folder, "--port", port)
    site = Site(built_site, tmp_path / "site.log", environment)
    # Not the process' own client, which may have other keys already.
    sm = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )

    with ExitStack() as stack:
        aws = running(built_site, tmp_path / "aws.log", command, environment)
        stack.enter_context(aws)
        stack.enter_context(running(built_site, site.log, SITE, environment))
        site.wait_for("/readyz", '"aws_away": "ok"')
        status, page = site.ask("/admin/login/")
        assert status == 200
        assert site.ask("/static/" + page.split('href="/static/')[1].split('"')[0])[0] == 200
        checked = manage("check", **environment)
        assert (checked.returncode, checked.stderr) == (0, "")
        sm.create_secret(Name="nova/clients/x", SecretString="{}")

    # A trial that is started again has its secrets still.
    with running(built_site, tmp_path / "aws.log", command, environment):
        site.environment["PORT"] = port
        site.wait_for("/health", "identity")
        assert sm.get_secret_value(SecretId="nova/clients/x")["SecretString"] == "{}"
        other = "AWS4-HMAC-SHA256 Credential=SOMEBODYELSES0000000/20260101/us-east-1/x/aws4_request"
        assert "UnrecognizedClientException" in site.ask("/", Authorization=other)[1]
