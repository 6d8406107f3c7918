"""What a paper of each kind is about: how the registry's record is read, previewed and set in type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cloud.documents import birth_certificate, possession_sheet
from cloud.documents.birth_certificate import Birth
from cloud.documents.issue import Issue
from cloud.documents.kinds import Kinds
from cloud.documents.possession_sheet import Sheet
from contract.documents import Kind, PreviewRow

Record = Sheet | Birth


@dataclass(frozen=True)
class _Form:
    """The struct of one kind's record, and the module that writes it."""

    struct: type[Record]
    preview: Callable[..., list[PreviewRow]]
    page: Callable[..., dict[str, Any]]


_FORMS: Mapping[str, _Form] = {
    Kind.POSSESSION_SHEET: _Form(Sheet, possession_sheet.preview, possession_sheet.page),
    Kind.BIRTH_CERTIFICATE: _Form(Birth, birth_certificate.preview, birth_certificate.page),
}


def struct_of(kind: str) -> type[Record]:
    """The struct that the registry's record of `kind` is."""
    return _FORMS[kind].struct


def read(kind: str, stored: bytes) -> Record:
    """The record of a paper of `kind`, as it was kept (JSON)."""
    return msgspec.json.decode(stored, type=struct_of(kind))


def preview(kind: str, record: Record, *, price_cents: int, language: str, kinds: Kinds) -> list[PreviewRow]:
    """What the citizen sees before paying: the same values as on the paper."""
    return _FORMS[kind].preview(record, price_cents=price_cents, language=language, kinds=kinds)


def page(kind: str, record: Record, issue: Issue, kinds: Kinds) -> dict[str, Any]:
    """Everything that the template of `kind` prints, as text."""
    return _FORMS[kind].page(record, issue, kinds.by_name[kind], kinds)
