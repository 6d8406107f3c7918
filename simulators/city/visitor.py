"""A person without a browser: opens pages and sends their forms, as HTML says it, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self

import httpx

TIMEOUT_S = 30.0


@dataclass
class Form:
    """One form of a page; `fields` are what it would send untouched, `buttons` what its buttons add."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    """Finds the forms of a page, and its visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.text: list[str] = []
        self._open: Form | None = None
        self._select = ""
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(values.get("action", ""), values.get("method", "get").lower())
            self.forms.append(self._open)
        elif tag in ("script", "style"):
            self._hidden += 1
        if self._open is None:
            return
        name = values.get("name", "")
        if tag == "input" and name:
            kind = values.get("type", "text")
            if kind in ("checkbox", "radio") and "checked" not in values:
                return
            self._open.fields[name] = values.get("value", "on" if kind == "checkbox" else "")
        elif tag == "textarea" and name:
            self._open.fields.setdefault(name, "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            if self._select not in self._open.fields or "selected" in values:
                self._open.fields[self._select] = values.get("value", "")
        elif tag == "button" and values.get("type", "submit") == "submit":
            self._open.buttons.append((name, values.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = ""
        elif tag in ("script", "style"):
            self._hidden -= 1

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.text.append(data.strip())


@dataclass(frozen=True)
class Page:
    """A page as it was answered."""

    url: str
    status: int
    html: str
    forms: list[Form]
    text: str

    def form(self, action: str, button: tuple[str, str] | None = None) -> Form:
        """The form that posts to `action` (the end of its address), with `button` if one is given.

        Raises:
            LookupError: the page has no such form.
        """
        for form in self.forms:
            if form.action.endswith(action) and (button is None or button in form.buttons):
                return form
        have = [form.action for form in self.forms]
        raise LookupError(
            f"{self.url} ({self.status}) has no form for {action} {button or ''}; it has {have}"
        )


class Visitor:
    """One person; keeps cookies, follows redirections. Languages go by `Accept-Language`."""

    def __init__(self, language: str = "en", **options: object) -> None:
        self._client = httpx.AsyncClient(
            follow_redirects=True,
            timeout=TIMEOUT_S,
            headers={"Accept-Language": language},
            **options,  # type: ignore[arg-type] # handed through to httpx
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def open(self, url: str) -> Page:
        """Open a page."""
        return _page(await self._client.get(url))

    async def json(self, url: str) -> Any:
        """What a program is told there.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        answer = await self._client.get(url)
        answer.raise_for_status()
        return answer.json()

    async def post(self, url: str, values: Mapping[str, str]) -> Page:
        """Send something that no page has asked for."""
        return _page(await self._client.post(url, data=dict(values)))

    async def send(
        self,
        page: Page,
        action: str,
        values: Mapping[str, str] | None = None,
        button: tuple[str, str] | None = None,
    ) -> Page:
        """Fill in the form of `page` that goes to `action` and press its button.

        Raises:
            LookupError: there is no such form, or it lacks a field that should be filled in.
        """
        form = page.form(action, button)
        filled = dict(form.fields)
        filled.update(values or {})
        if button is not None:
            filled[button[0]] = button[1]
        elif len(form.buttons) == 1 and form.buttons[0][0]:
            filled[form.buttons[0][0]] = form.buttons[0][1]
        target = str(httpx.URL(page.url).join(form.action or page.url))
        origin = httpx.URL(page.url)
        headers = {"Origin": f"{origin.scheme}://{origin.netloc.decode()}"}
        if form.method == "post":
            return _page(await self._client.post(target, data=filled, headers=headers))
        return _page(await self._client.get(target, params=filled))


def _page(answer: httpx.Response) -> Page:
    reader = _Reader()
    reader.feed(answer.text)
    return Page(str(answer.url), answer.status_code, answer.text, reader.forms, " ".join(reader.text))
