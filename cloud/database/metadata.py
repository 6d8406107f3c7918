"""All tables of the control plane at once, for migrations and tests."""

import importlib
import pkgutil

import sqlalchemy as sa

from cloud.database import models
from cloud.database.models.base import Base


def complete() -> sa.MetaData:
    """The metadata after every module of models has been imported."""
    for module in pkgutil.iter_modules(models.__path__, f"{models.__name__}."):
        importlib.import_module(module.name)
    return Base.metadata
