"""A Grafana by its HTTP API, through `grafana-api` 1.0.3.

That library is the city's choice; nobody has looked after it since 2020. It knows folders, dashboards and
data sources, not the alerting of today, which is asked for by its raw verbs. Three of its habits are caught
here: it reads every answer as JSON (a 204 has none, a proxy's page is none), trips over an error whose body
is a bare value, and reads an answer of any length.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from grafana_api.grafana_face import GrafanaFace

from dashboards.errors import MissingError, ProvisionError

TIMEOUT_S: Final = 10.0
"""To connect, and between two pieces of an answer."""
ANSWER_BYTES_MAX: Final = 8_388_608
TOKEN_BYTES_MAX: Final = 4_096
REASON_LENGTH_MAX: Final = 200
PROVISIONING: Final = "/v1/provisioning"


class _NothingError(Exception):
    """A good answer without content."""


class Grafana:
    """What provisioning needs of a Grafana. `url` is its root; `ca_file` has the authorities to trust.

    What is read is None where Grafana has no such thing.

    Raises:
        ProvisionError: from everything; its sentence names the thing and says what to do.
    """

    def __init__(self, url: str, token: str, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query:
            raise ProvisionError(f"{url!r} is no address of a Grafana: give it as https://host:3000")
        if parts.username or parts.password:
            raise ProvisionError("the address has a password in it: put a token into --token-file instead")
        self._url = url.rstrip("/")
        prefix = parts.path.strip("/")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._face = GrafanaFace(
            token,
            host=host,
            port=port,
            url_path_prefix=f"{prefix}/" if prefix else "",
            protocol=parts.scheme,
            verify=str(ca_file) if ca_file else True,
            timeout=TIMEOUT_S,
        )
        self._face.api.s.hooks["response"].append(self._judge)

    def folder(self, uid: str) -> dict[str, Any] | None:
        """A folder."""
        return self._read(f"folder {uid}", lambda: self._face.folder.get_folder(uid))

    def create_folder(self, uid: str, title: str) -> None:
        """Make one."""
        self._do(f"folder {uid}", lambda: self._face.folder.create_folder(title, uid=uid))

    def source(self, uid: str) -> dict[str, Any] | None:
        """A data source."""
        return self._read(f"data source {uid}", lambda: self._face.api.GET(f"/datasources/uid/{_part(uid)}"))

    def create_source(self, source: dict[str, Any]) -> None:
        """Make one."""
        self._do(f"data source {source['uid']}", lambda: self._face.datasource.create_datasource(source))

    def update_source(self, source: dict[str, Any]) -> None:
        """Change it; `version` in it must be the one that was read."""
        path = f"/datasources/uid/{_part(source['uid'])}"
        self._do(f"data source {source['uid']}", lambda: self._face.api.PUT(path, json=source))

    def dashboard(self, uid: str) -> dict[str, Any] | None:
        """A dashboard: `dashboard` and `meta`."""
        return self._read(f"dashboard {uid}", lambda: self._face.dashboard.get_dashboard(uid))

    def save_dashboard(self, body: dict[str, Any]) -> None:
        """Make or change it; unless `overwrite`, `version` in it must be the one that was read."""
        uid = body["dashboard"]["uid"]
        self._do(f"dashboard {uid}", lambda: self._face.dashboard.update_dashboard(body))

    def rule_group(self, folder: str, title: str) -> dict[str, Any] | None:
        """A group of alert rules."""
        path = f"{PROVISIONING}/folder/{_part(folder)}/rule-groups/{_part(title)}"
        return self._read(f"rule group {title}", lambda: self._face.api.GET(path))

    def save_rule_group(self, group: dict[str, Any]) -> None:
        """Make or replace it with all of its rules."""
        path = f"{PROVISIONING}/folder/{_part(group['folderUid'])}/rule-groups/{_part(group['title'])}"
        self._do(f"rule group {group['title']}", lambda: self._face.api.PUT(path, json=group))

    def contact_point(self, uid: str) -> dict[str, Any] | None:
        """A contact point."""
        every = self._do("contact points", lambda: self._face.api.GET(f"{PROVISIONING}/contact-points"))
        if not isinstance(every, list):
            raise ProvisionError(
                f"{self._url} answers no list of contact points: is it a Grafana of version 10 or newer?"
            )
        return next((each for each in every if isinstance(each, dict) and each.get("uid") == uid), None)

    def create_contact_point(self, point: dict[str, Any]) -> None:
        """Make one."""
        path = f"{PROVISIONING}/contact-points"
        self._do(f"contact point {point['name']}", lambda: self._face.api.POST(path, json=point))

    def update_contact_point(self, point: dict[str, Any]) -> None:
        """Change it."""
        path = f"{PROVISIONING}/contact-points/{_part(point['uid'])}"
        self._do(f"contact point {point['name']}", lambda: self._face.api.PUT(path, json=point))

    def policies(self) -> dict[str, Any]:
        """The whole tree of notification policies."""
        found = self._do("notification policies", lambda: self._face.api.GET(f"{PROVISIONING}/policies"))
        if not isinstance(found, dict):
            raise ProvisionError(
                f"{self._url} answers no tree of policies: is it a Grafana of version 10 or newer?"
            )
        return found

    def save_policies(self, tree: dict[str, Any]) -> None:
        """Replace the whole tree."""
        self._do("notification policies", lambda: self._face.api.PUT(f"{PROVISIONING}/policies", json=tree))

    def _read(self, what: str, ask: Callable[[], Any]) -> dict[str, Any] | None:
        try:
            found = self._do(what, ask)
        except MissingError:
            return None
        if not isinstance(found, dict):
            raise ProvisionError(f"{self._url} answers something else than a {what}: is it a Grafana?")
        return found

    def _do(self, what: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except _NothingError:
            return None
        except ProvisionError as error:
            raise type(error)(f"{what}: {error}") from error
        except requests.exceptions.SSLError as error:
            raise ProvisionError(
                f"{what}: {self._url} has a certificate that is not trusted: give its authority as --ca-file"
            ) from error
        except requests.exceptions.Timeout as error:
            raise ProvisionError(
                f"{what}: {self._url} says nothing for {TIMEOUT_S:g} s: look at its log, then repeat this"
            ) from error
        except (requests.exceptions.RequestException, OSError) as error:
            raise ProvisionError(
                f"{what}: {self._url} cannot be reached: does it run, and is the address right?"
            ) from error

    def _judge(self, response: requests.Response, *_args: Any, **_more: Any) -> None:
        """Called for each answer before `grafana-api` sees it."""
        content = b""
        for piece in response.iter_content(65_536):
            content += piece
            if len(content) > ANSWER_BYTES_MAX:
                raise ProvisionError(
                    f"{self._url} answers more than {ANSWER_BYTES_MAX} bytes: is it Grafana?"
                )
        response._content = content  # what is read in pieces would be gone for the library
        if response.is_redirect:
            return
        if response.status_code >= 400:
            raise self._refusal(response.status_code, content)
        if response.status_code == 204 or not content:
            raise _NothingError
        try:
            json.loads(content)
        except ValueError:
            raise ProvisionError(
                f"{self._url} answers a page instead of data: a proxy or a login is in front of it; "
                "give the address of Grafana itself"
            ) from None

    def _refusal(self, status: int, content: bytes) -> ProvisionError:
        reason = _reason(content)
        match status:
            case 401:
                return ProvisionError(
                    "Grafana does not know the token (401): make a new one for a service account with the "
                    "role Admin and put it into the token file"
                )
            case 403:
                return ProvisionError(
                    "Grafana forbids it (403): give the token's service account the role Admin; Editors may "
                    "not add data sources or policies"
                )
            case 404:
                return MissingError(
                    f"Grafana does not have it (404): is {self._url} its root, and its version 10 or newer?"
                )
            case 409 | 412:
                return ProvisionError(
                    f"somebody else has changed it or taken its name ({status}{reason}): look at it in "
                    "Grafana, then run this again"
                )
            case _ if status >= 500:
                return ProvisionError(
                    f"Grafana has a fault of its own ({status}{reason}): look at its log, then run this again"
                )
        return ProvisionError(f"Grafana refuses it ({status}{reason}): these files are for versions 10 to 13")


def read_token(path: Path) -> str:
    """The token in a file that only its owner may read.

    Raises:
        ProvisionError: it cannot be read, others may read it, or it holds no token.
    """
    try:
        mode = path.stat().st_mode & 0o777
        content = path.open("rb").read(TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise ProvisionError(f"the token file {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise ProvisionError(f"others may read the token file {path} (mode {mode:03o}): chmod 600 {path}")
    token = content.decode("ascii", errors="replace").strip()
    if not token or len(content) > TOKEN_BYTES_MAX or not token.isprintable() or not token.isascii():
        raise ProvisionError(f"the token file {path} holds no token: put the service account's token into it")
    return token


def _reason(content: bytes) -> str:
    """What Grafana says, on one line and not too long."""
    try:
        told = json.loads(content)
    except ValueError:
        return ""
    message = told.get("message") if isinstance(told, dict) else None
    return f", {' '.join(str(message).split())[:REASON_LENGTH_MAX]}" if message else ""


def _part(name: str) -> str:
    return quote(name, safe="")
