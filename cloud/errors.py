"""Errors of the control plane, by what the reader should do about them."""


class CloudError(Exception):
    """Parent of all errors that the control plane raises on purpose."""


class SettingsError(CloudError):
    """The settings are wrong; a person must correct them."""


class RefusedError(CloudError):
    """The caller may not, or the thing's state forbids it; asking again changes nothing."""


class UnavailableError(CloudError):
    """A service that is needed does not answer now; try again later."""


class MalformedError(CloudError):
    """What was sent cannot be understood."""
