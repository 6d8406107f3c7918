"""What keeps a provisioning from being done."""


class ProvisionError(Exception):
    """It was not done; the sentence says what to do."""


class MissingError(ProvisionError):
    """Grafana does not have what was asked for."""
