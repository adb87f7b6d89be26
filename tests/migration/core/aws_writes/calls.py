"""The calls that AWS was sent and that write."""

from migration.core.aws_writes import READS


def count_writes(aws) -> int:
    calls = aws.conditions.report()["calls"]
    return sum(counts["calls"] for operation, counts in calls.items() if operation not in READS)
