"""A document, its secret's name, and managers to read and write it by."""

import traceback
from functools import cache

from nova_credentials.aws import ClientSecretsManager

MARK = "marked-example-password"
NAME = "nova/clients/idom"
DOCUMENT = {
    "client_name": "IDOM",
    "database": {
        "host": "db.example.com",
        "port": 49057,
        "name": "railway",
        "user": "nova",
        "password": "example-password-1",
    },
    "email": {
        "user": "bills@example.com",
        "app_password": "example-password-2",
        "sender_whitelist": "a@example.com",
    },
    "aws": {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "example-password-3"},
    "other_databases": [],
    "other_emails": [],
    "other_aws": [],
}


@cache
def manager(endpoint, layout):
    """One of each for all tests: boto3 takes a tenth of a second to make a client."""
    return ClientSecretsManager(endpoint_url=endpoint, layout=layout)


class Faults:
    """Stands before an AWS; plays the faults it is given, one a call, and counts the calls."""

    def __init__(self):
        self.planned = []
        self.calls = []

    def wrap(self, app):
        def answer(environ, start_response):
            self.calls.append(environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2])
            fault = self.planned.pop(0) if self.planned else lambda app, *call: app(*call)
            return fault(app, environ, start_response)

        return answer


def everything(error):
    """The text of an error and of all that it drags along."""
    assert (error.__cause__, error.__context__) == (None, None)
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def versions(sm, name=NAME):
    return sm.describe_secret(name).versions
