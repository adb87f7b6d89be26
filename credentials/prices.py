"""The list prices of AWS in most regions, in dollars, and the plan's prices of what else there is.

Read on AWS_PRICES_READ at AWS_PRICES_SOURCE; check them there before a decision. Nothing here asks AWS.
"""

from datetime import date
from decimal import Decimal
from typing import NamedTuple

AWS_PRICES_READ = date(2026, 9, 20)
AWS_PRICES_SOURCE = "https://aws.amazon.com/secrets-manager/pricing/"
SECRET_A_MONTH = Decimal("0.40")  # a replica in another region costs as much as a secret
TEN_THOUSAND_CALLS = Decimal("0.05")

# Of a KMS key of your own; AWS's own key for Secrets Manager costs nothing.
KMS_PRICES_SOURCE = "https://aws.amazon.com/kms/pricing/"
KEY_A_MONTH = Decimal("1.00")  # in each region
TEN_THOUSAND_KEY_REQUESTS = Decimal("0.03")


class AlternativeStore(NamedTuple):
    """Another place for the credentials, and its dollars a month as the plan has them."""

    key: str
    least: Decimal
    most: Decimal


PLAN_PRICES_OF = date(2025, 10, 30)
ALTERNATIVES = (
    AlternativeStore("novas_postgres", Decimal(0), Decimal(0)),
    AlternativeStore("railway", Decimal(7), Decimal(7)),
    AlternativeStore("vault", Decimal(50), Decimal(150)),
)
