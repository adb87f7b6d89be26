"""The list prices of AWS Secrets Manager in most regions, in dollars.

Read on AWS_PRICES_READ at AWS_PRICES_SOURCE; check them there before a decision. Nothing here asks AWS.
"""

from datetime import date
from decimal import Decimal

AWS_PRICES_READ = date(2026, 9, 20)
AWS_PRICES_SOURCE = "https://aws.amazon.com/secrets-manager/pricing/"
SECRET_A_MONTH = Decimal("0.40")  # a replica in another region costs as much as a secret
TEN_THOUSAND_CALLS = Decimal("0.05")
SECRETS_A_CALL = 20  # of BatchGetSecretValue
MONTH_DAYS = 30
MONTH_MINUTES = MONTH_DAYS * 24 * 60
