"""Lists the regions of AWS in which Secrets Manager can be reached. Asks nobody: botocore has the list."""

from functools import cache

from botocore.session import get_session


@cache
def list_regions() -> frozenset[str]:
    """Return the regions of all partitions, as the installed botocore knows them."""
    session = get_session()
    return frozenset(
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("secretsmanager", partition_name=partition)
    )
