"""The payment service over HTTP.

It takes and gives back what a terminal has authorised; card data never comes here.
"""

from typing import Annotated
from urllib.parse import quote

import msgspec

from cloud.documents.ports import Authorisation
from cloud.documents.service_http import TIMEOUT_S, JsonService
from cloud.errors import RefusedError

NAME = "the payment service"

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Authorisation(msgspec.Struct):
    authorisation: _Id
    reference: Annotated[str, msgspec.Meta(max_length=64)]
    amount_cents: Annotated[int, msgspec.Meta(ge=0)]
    state: _Id


class PaymentsHttp:
    """The port `Payments`; safe to use from several threads."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._service = JsonService(NAME, url, timeout_s=timeout_s)

    def authorisation(self, authorisation: str) -> Authorisation | None:
        """See `Payments.authorisation`."""
        return self._find(f"/authorisations/{quote(authorisation, safe='')}")

    def last_for(self, reference: str) -> Authorisation | None:
        """See `Payments.last_for`."""
        return self._find(f"/authorisations?reference={quote(reference, safe='')}")

    def _find(self, path: str) -> Authorisation | None:
        answer = self._service.ask("GET", path)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise answer.unexpected()
        found = answer.read(_Authorisation)
        return Authorisation(found.authorisation, found.reference, found.amount_cents, found.state)

    def capture(self, authorisation: str, key: str) -> None:
        """See `Payments.capture`."""
        self._settle(authorisation, "capture", key)

    def void(self, authorisation: str, key: str) -> None:
        """See `Payments.void`."""
        self._settle(authorisation, "void", key)

    def _settle(self, authorisation: str, verb: str, key: str) -> None:
        answer = self._service.ask("POST", f"/authorisations/{quote(authorisation, safe='')}/{verb}", key=key)
        if answer.status in (404, 409):
            raise RefusedError(f"{NAME} does not {verb} this authorisation; look at its statement")
        if answer.status not in (200, 201, 204):
            raise answer.unexpected()

    def close(self) -> None:
        """Close its connections."""
        self._service.close()
