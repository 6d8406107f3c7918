"""A Grafana that remembers and draws nothing: what provisioning needs of its HTTP API.

It answers as version 13 does where that matters: versions and 412, names that are taken and 409, 204 without
content, 202, unknown fields refused. Fields are noted by hand from version 13's models.

| request | does |
|---|---|
| `GET /api/folders/{uid}`, `POST /api/folders` | folders |
| `GET`, `PUT /api/datasources/uid/{uid}`, `POST /api/datasources` | data sources |
| `GET /api/dashboards/uid/{uid}`, `POST /api/dashboards/db` | dashboards, with versions |
| `GET`, `PUT /api/v1/provisioning/folder/{uid}/rule-groups/{group}` | rules |
| `DELETE /api/v1/provisioning/alert-rules/{uid}` | 204 |
| `GET`, `POST /api/v1/provisioning/contact-points`, `PUT …/{uid}` | contact points |
| `GET`, `PUT /api/v1/provisioning/policies` | the policy tree |
| `POST /fault` {answer: 401 … 599, html, silent, ok; method?: PUT …; path?: text in the path} | breaks it |
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

BODY_BYTES_MAX: Final = 2_097_152
TOKEN: Final = "glsa_simulated"
SILENT_S: Final = 60.0
SOURCE_FIELDS: Final = {
    "uid",
    "name",
    "type",
    "access",
    "url",
    "jsonData",
    "isDefault",
    "version",
    "database",
}
SAVE_FIELDS: Final = {"dashboard", "folderUid", "message", "overwrite"}
GROUP_FIELDS: Final = {"title", "folderUid", "interval", "rules"}
RULE_FIELDS: Final = {
    *("uid", "orgID", "folderUID", "ruleGroup", "title", "condition", "data", "noDataState", "execErrState"),
    *("for", "keep_firing_for", "annotations", "labels", "isPaused", "notification_settings", "record"),
}
RULE_REQUIRED: Final = {
    "title",
    "condition",
    "data",
    "noDataState",
    "execErrState",
    "for",
    "folderUID",
    "ruleGroup",
}
QUERY_FIELDS: Final = {"refId", "queryType", "relativeTimeRange", "datasourceUid", "model"}
CONTACT_FIELDS: Final = {"uid", "name", "type", "settings", "disableResolveMessage"}
ROUTE_FIELDS: Final = {
    *(
        "receiver",
        "group_by",
        "group_wait",
        "group_interval",
        "repeat_interval",
        "object_matchers",
        "matchers",
    ),
    *(
        "match",
        "match_re",
        "mute_time_intervals",
        "active_time_intervals",
        "continue",
        "routes",
        "provenance",
    ),
}
NO_DATA: Final = {"Alerting", "NoData", "OK", "KeepLast"}
EXPRESSION: Final = "__expr__"

Endpoint = Callable[[Request], Awaitable[Response]]


class RefusedError(Exception):
    """An answer of 400 or above."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Grafana:
    """What it remembers."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.groups: dict[tuple[str, str], dict[str, Any]] = {}
        self.contacts: dict[str, dict[str, Any]] = {
            "default": {"uid": "default", "name": "grafana-default-email"}
        }
        self.policies: dict[str, Any] = {"receiver": "grafana-default-email", "group_by": ["grafana_folder"]}
        self.writes: list[str] = []
        self.fault: dict[str, Any] = {}

    def save_dashboard(self, body: dict[str, Any], by: str) -> dict[str, Any]:
        """As `POST /api/dashboards/db`."""
        _only(body, SAVE_FIELDS, "dashboard request")
        board = body.get("dashboard")
        if not isinstance(board, dict) or not board.get("title") or not board.get("uid"):
            raise RefusedError(400, "bad request data")
        if body.get("folderUid") not in self.folders:
            raise RefusedError(400, "folder not found")
        known = self.dashboards.get(board["uid"])
        if known is not None and not body.get("overwrite"):
            if board.get("version") is None:
                raise RefusedError(412, "A dashboard with the same uid already exists")
            if board["version"] != known["dashboard"]["version"]:
                raise RefusedError(412, "The dashboard has been changed by someone else")
        version = known["dashboard"]["version"] + 1 if known else 1
        kept = {
            **board,
            "version": version,
            "id": known["dashboard"]["id"] if known else len(self.dashboards) + 1,
        }
        about = {"folderUid": body["folderUid"], "updatedBy": by, "version": version}
        self.dashboards[board["uid"]] = {"dashboard": kept, "meta": about}
        return {"uid": board["uid"], "version": version, "status": "success"}

    def save_group(self, folder: str, title: str, body: dict[str, Any]) -> dict[str, Any]:
        """As `PUT /api/v1/provisioning/folder/{folder}/rule-groups/{title}`."""
        _only(body, GROUP_FIELDS, "rule group")
        if folder not in self.folders:
            raise RefusedError(400, "folder does not exist")
        for rule in body.get("rules", []):
            _only(rule, RULE_FIELDS, "rule")
            missing = RULE_REQUIRED - rule.keys()
            if missing:
                raise RefusedError(400, f"invalid alert rule: {', '.join(sorted(missing))} missing")
            self._check_rule(rule)
        kept = {
            **body,
            "rules": [{**rule, "id": at, "provenance": "api"} for at, rule in enumerate(body["rules"], 1)],
        }
        self.groups[folder, title] = kept
        return kept

    def save_policies(self, body: dict[str, Any]) -> dict[str, Any]:
        """As `PUT /api/v1/provisioning/policies`."""
        names = {contact["name"] for contact in self.contacts.values()}
        for branch in (body, *body.get("routes", [])):
            _only(branch, ROUTE_FIELDS, "policy")
            if branch.get("receiver") not in names:
                raise RefusedError(400, f"receiver {branch.get('receiver')!r} does not exist")
        self.policies = {**body, "provenance": "api"}
        return {"message": "policies updated"}

    def _check_rule(self, rule: dict[str, Any]) -> None:
        refs = []
        for query in rule["data"]:
            _only(query, QUERY_FIELDS, "query")
            if query["datasourceUid"] != EXPRESSION and query["datasourceUid"] not in self.sources:
                raise RefusedError(400, f"data source {query['datasourceUid']!r} does not exist")
            refs.append(query["refId"])
        if rule["condition"] not in refs:
            raise RefusedError(400, f"condition {rule['condition']!r} is none of the queries")
        if rule["noDataState"] not in NO_DATA:
            raise RefusedError(400, f"unknown no data state {rule['noDataState']!r}")


class _Desk:
    def __init__(self, grafana: Grafana, token: str) -> None:
        self._grafana = grafana
        self._token = token

    def routes(self) -> list[Route]:
        alerting = "/api/v1/provisioning"
        group = f"{alerting}/folder/{{folder}}/rule-groups/{{group}}"
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/api/folders/{uid}", self.folder),
            ("POST", "/api/folders", self.create_folder),
            ("GET", "/api/datasources/uid/{uid}", self.source),
            ("PUT", "/api/datasources/uid/{uid}", self.update_source),
            ("POST", "/api/datasources", self.create_source),
            ("GET", "/api/dashboards/uid/{uid}", self.dashboard),
            ("POST", "/api/dashboards/db", self.save_dashboard),
            ("GET", group, self.group),
            ("PUT", group, self.save_group),
            ("DELETE", f"{alerting}/alert-rules/{{uid}}", self.delete_rule),
            ("GET", f"{alerting}/contact-points", self.contacts),
            ("POST", f"{alerting}/contact-points", self.save_contact),
            ("PUT", f"{alerting}/contact-points/{{uid}}", self.save_contact),
            ("GET", f"{alerting}/policies", self.policies),
            ("PUT", f"{alerting}/policies", self.save_policies),
        ]
        served = [Route(path, self._at_work(endpoint), methods=[method]) for method, path, endpoint in table]
        return [*served, Route("/fault", self.fault, methods=["POST"])]

    async def folder(self, request: Request) -> Response:
        return _found(self._grafana.folders.get(request.path_params["uid"]), "folder not found")

    async def create_folder(self, request: Request) -> Response:
        body = await _body(request)
        _only(body, {"uid", "title"}, "folder")
        if body["uid"] in self._grafana.folders:
            raise RefusedError(412, "a folder with the same uid already exists")
        self._grafana.folders[body["uid"]] = body
        return JSONResponse(body)

    async def source(self, request: Request) -> Response:
        return _found(self._grafana.sources.get(request.path_params["uid"]), "data source not found")

    async def create_source(self, request: Request) -> Response:
        body = await _body(request)
        _only(body, SOURCE_FIELDS, "data source")
        if any(body["name"] == known["name"] for known in self._grafana.sources.values()):
            raise RefusedError(409, "data source with the same name already exists")
        self._grafana.sources[body["uid"]] = {**body, "id": len(self._grafana.sources) + 1, "version": 1}
        return JSONResponse({"message": "Datasource added"})

    async def update_source(self, request: Request) -> Response:
        body = await _body(request)
        _only(body, SOURCE_FIELDS, "data source")
        known = self._grafana.sources.get(request.path_params["uid"])
        if known is None:
            raise RefusedError(404, "data source not found")
        if body.get("version") not in (None, known["version"]):
            raise RefusedError(409, "Datasource has already been updated by someone else")
        self._grafana.sources[known["uid"]] = {**known, **body, "version": known["version"] + 1}
        return JSONResponse({"message": "Datasource updated"})

    async def dashboard(self, request: Request) -> Response:
        return _found(self._grafana.dashboards.get(request.path_params["uid"]), "Dashboard not found")

    async def save_dashboard(self, request: Request) -> Response:
        return JSONResponse(self._grafana.save_dashboard(await _body(request), "sa-provisioning"))

    async def group(self, request: Request) -> Response:
        key = (request.path_params["folder"], request.path_params["group"])
        return _found(self._grafana.groups.get(key), "rule group not found")

    async def save_group(self, request: Request) -> Response:
        where = request.path_params
        return JSONResponse(self._grafana.save_group(where["folder"], where["group"], await _body(request)))

    async def delete_rule(self, request: Request) -> Response:
        uid = request.path_params["uid"]
        for group in self._grafana.groups.values():
            group["rules"] = [rule for rule in group["rules"] if rule["uid"] != uid]
        return Response(status_code=204)

    async def contacts(self, _request: Request) -> Response:
        return JSONResponse(list(self._grafana.contacts.values()))

    async def save_contact(self, request: Request) -> Response:
        body = await _body(request)
        _only(body, CONTACT_FIELDS, "contact point")
        self._grafana.contacts[body["uid"]] = body
        return JSONResponse({"message": "contact point saved"}, status_code=202)

    async def policies(self, _request: Request) -> Response:
        return JSONResponse(self._grafana.policies)

    async def save_policies(self, request: Request) -> Response:
        return JSONResponse(self._grafana.save_policies(await _body(request)), status_code=202)

    async def fault(self, request: Request) -> Response:
        self._grafana.fault = await _body(request)
        return Response(status_code=204)

    def _at_work(self, endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            broken = self._grafana.fault
            if (
                broken.get("answer", "ok") != "ok"
                and broken.get("method", request.method) == request.method
                and broken.get("path", "") in request.url.path
            ):
                return await _broken(broken["answer"])
            if request.headers.get("authorization") != f"Bearer {self._token}":
                return _problem(401, "Invalid API key")
            try:
                answered = await endpoint(request)
            except RefusedError as error:
                return _problem(error.status, str(error))
            if request.method != "GET":
                self._grafana.writes.append(f"{request.method} {request.url.path}")
            return answered

        return answer


async def _broken(answer: int | str) -> Response:
    if answer == "html":
        return HTMLResponse("<!doctype html><title>Sign in</title>")
    if answer == "empty":
        return Response(status_code=200)
    if answer == "silent":
        await asyncio.sleep(SILENT_S)
    return _problem(answer if isinstance(answer, int) else 503, "simulated")


def grafana_app(token: str = TOKEN) -> Starlette:
    """It as an ASGI application; what it remembers is `app.state.grafana`."""
    grafana = Grafana()
    app = Starlette(routes=_Desk(grafana, token).routes())
    app.state.grafana = grafana
    return app


def _only(body: dict[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(body.keys() - known)
    if unknown:
        raise RefusedError(400, f"{what}: unknown field {unknown[0]!r}")


def _found(thing: dict[str, Any] | None, message: str) -> Response:
    return _problem(404, message) if thing is None else JSONResponse(thing)


def _problem(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status_code=status)


async def _body(request: Request) -> dict[str, Any]:
    data = await request.body()
    if len(data) > BODY_BYTES_MAX:
        raise RefusedError(413, "request is too large")
    try:
        body = json.loads(data)
    except ValueError:
        raise RefusedError(400, "bad request data") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "bad request data")
    return body
