"""The list prices of AWS Secrets Manager in most regions, in dollars. A replica costs as much as a secret."""

from decimal import Decimal

SECRET_A_MONTH = Decimal("0.40")
TEN_THOUSAND_CALLS = Decimal("0.05")
