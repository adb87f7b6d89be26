"""Reads and writes secrets in AWS Secrets Manager; boto3 is imported when AWS is first asked. Knows no phase."""

from nova_credentials.aws.answers import ErrorClass, SecretsManagerError
from nova_credentials.aws.client_secrets import ClientSecretsManager
from nova_credentials.aws.secrets_manager import SecretsManager

__all__ = ["ClientSecretsManager", "ErrorClass", "SecretsManager", "SecretsManagerError"]
