"""Signs the request by which an access key asks AWS whose it is (sts:GetCallerIdentity). Sends nothing.

Made without a client of boto3, which could take keys and addresses from elsewhere: environment, files, this machine.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from nova_credentials.aws.session import own_botocore_session, session_lock

_BODY = "Action=GetCallerIdentity&Version=2011-06-15"
_ACCESS_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SERVICE = "sts"


@dataclass(frozen=True)
class SignedRequest:
    """A request to be sent as it is, by POST."""

    url: str
    headers: dict[str, str] = field(repr=False)
    body: str = _BODY


def sign_identity_request(
    *, access_key_id: str, secret_access_key: str, region: str, endpoint: str = ""
) -> SignedRequest | None:
    """Return the request for the region's own address or this endpoint.

    None where no such region is known or the key can't be one of AWS.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = endpoint or _find_endpoint(region)
    if not url or not secret_access_key or not _ACCESS_KEY_ID.fullmatch(access_key_id):
        return None
    request = AWSRequest(
        method="POST",
        url=f"{url}/",
        data=_BODY,
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
    )
    SigV4Auth(Credentials(access_key_id, secret_access_key), _SERVICE, region).add_auth(request)
    # As it was signed: an HTTP library may add a port.
    return SignedRequest(f"{url}/", {**request.headers, "Host": urlsplit(url).netloc})


def _find_endpoint(region: str) -> str:
    """Return the address of the region's own STS, or nothing. A region that is unknown names no host."""
    from nova_credentials.aws.regions import list_regions

    if region not in list_regions():
        return ""
    with session_lock:
        session = own_botocore_session(os.getpid())
        suffix = session.get_component("endpoint_resolver").get_partition_dns_suffix(
            session.get_partition_for_region(region)
        )
    return f"https://{_SERVICE}.{region}.{suffix}"
