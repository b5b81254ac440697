"""SQLAlchemy, for the modules that need it, or the error that says how to install it."""

from __future__ import annotations

from perfsage.errors import MissingExtraError

try:
    import sqlalchemy as sa
except ImportError as error:
    raise MissingExtraError("sqlalchemy", "dataset") from error

__all__ = ["sa"]
