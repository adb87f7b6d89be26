"""What AWS Secrets Manager asks, in dollars: the list price in most regions. Replicas are secrets of their own."""

from decimal import Decimal

SECRET_A_MONTH = Decimal("0.40")
TEN_THOUSAND_CALLS = Decimal("0.05")
