"""Rendering of pages: one Jinja environment over the templates of all ways."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import pass_context
from jinja2.runtime import Context

from cloud.web import languages
from cloud.web.languages import Language
from contract.languages import LANGUAGES

PACKAGE = Path(__file__).parent.parent
STATIC = Path(__file__).parent / "static"
LANGUAGE_COOKIE = "language"


class Pages:
    """The templates and the words of the control plane's pages; one per process, in `app.state.pages`."""

    def __init__(self, package: Path = PACKAGE) -> None:
        """Load templates and catalogues below `package`.

        Raises:
            SettingsError: a catalogue is broken.
        """
        self.languages: Mapping[str, Language] = languages.load(languages.way_folders(package))
        self.environment = _environment(package)


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """The page `template` (`way/name.html`) in the language of the request.

    Templates know `lang` (its code), `language`, `operator` (None on public pages), `csrf`, `path`, and the
    filters `date`, `time`, `moment`, `number` and `money`.
    """
    pages: Pages = request.app.state.pages
    language = language_of(request)
    operator = getattr(request.state, "operator", None)
    html = pages.environment.get_template(template).render(
        request=request,
        language=language,
        lang=language.code,
        switches=_switches(request, pages),
        operator=operator,
        csrf=operator.csrf if operator is not None else "",
        path=request.url.path,
        **context,
    )
    return HTMLResponse(
        html, status, headers={"Content-Language": language.code, "Vary": "Accept-Language, Cookie"}
    )


def language_of(request: Request) -> Language:
    """The language in the path, else the one in the cookie, else the one that the browser asks for.

    Raises:
        HTTPException: 404, the path names a language that there is not.
    """
    pages: Pages = request.app.state.pages
    in_path = request.path_params.get("lang")
    if in_path is not None:
        if in_path not in pages.languages:
            raise HTTPException(404)
        return pages.languages[in_path]
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen not in pages.languages:
        chosen = languages.negotiate(request.headers.get("accept-language", ""))
    return pages.languages[chosen]


def _switches(request: Request, pages: Pages) -> list[tuple[Language, str | None]]:
    """Each language with the address of this page in it; None where the cookie decides."""
    in_path = request.path_params.get("lang")
    if in_path is None:
        return [(language, None) for language in pages.languages.values()]
    tail = request.url.path.removeprefix(f"/{in_path}")
    query = f"?{request.url.query}" if request.url.query else ""
    return [(pages.languages[code], f"/{code}{tail}{query}") for code in LANGUAGES]


def _environment(package: Path) -> jinja2.Environment:
    folders = sorted(path for path in package.glob("*/templates") if path.is_dir())
    by_way = {folder.parent.name: jinja2.FileSystemLoader(folder) for folder in folders}
    loader = jinja2.ChoiceLoader([jinja2.PrefixLoader(by_way), by_way["web"]])
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined] # put there by the extension
    for name in ("date", "time", "moment", "number", "money"):
        environment.filters[name] = _in_language(name)
    return environment


@pass_context
def _gettext(context: Context, text: str) -> str:
    language: Language = context["language"]
    return language.gettext(text)


@pass_context
def _ngettext(context: Context, one: str, many: str, count: int) -> str:
    language: Language = context["language"]
    return language.ngettext(one, many, count)


def _in_language(name: str) -> Any:
    @pass_context
    def filter_(context: Context, value: Any, *arguments: Any) -> str:
        return str(getattr(context["language"], name)(value, *arguments))

    return filter_
