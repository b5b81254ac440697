"""The error tree: everything that PerfSAGE raises on purpose.

    PerfsageError
    ├── InvalidModelError        the bytes are not a TFLite model we can read
    ├── UnknownNameError         no such device, metric, space, predictor, ...
    ├── InvalidInputError        a value, file or option that cannot be used
    ├── MissingExtraError        an optional package is not installed
    ├── DatasetError             the database cannot do what was asked
    │   └── SchemaVersionError   the database is at another migration
    ├── PredictorError           a predictor folder that cannot be used
    ├── ServiceError             the REST service refused or failed
    └── DeviceError              a device or tool failed to measure
        ├── TransientDeviceError worth retrying
        └── StableDeviceError    retrying cannot help
            └── UnsupportedModelError  this device cannot run this model

Every error says what was wrong, where, and what to do next.
"""

from __future__ import annotations

MOST_CHARACTERS = 600
"""A sentence that repeats what somebody sent is cut in the middle beyond this."""


class PerfsageError(Exception):
    """Base of all deliberate errors.

    `what` is one sentence; `where` names the file, byte, field or device; `hint` says what to do next.
    `slug` names the error's documentation page and its problem type over REST; `exit_code` is the
    command line's exit status.
    """

    slug = "error"
    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what = _shortened(what)
        self.where = _shortened(where) if where else where
        self.hint = hint
        super().__init__(self.what)

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = f" {self.hint}" if self.hint else ""
        return f"{self.what}{place}.{advice}"


def _shortened(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]} ... {text[-half:]}"


class InvalidModelError(PerfsageError):
    """The bytes are not a TFLite model that can be read; `offset` is the byte where reading failed."""

    slug = "invalid-model"
    exit_code = 10

    def __init__(
        self, what: str, *, offset: int | None = None, where: str | None = None, hint: str | None = None
    ) -> None:
        self.offset = offset
        place = where or (f"at byte {offset}" if offset is not None else None)
        super().__init__(what, where=place, hint=hint or "Check that the file is a complete .tflite file.")


class UnknownNameError(PerfsageError):
    """A device, metric, space or predictor of that name does not exist."""

    slug = "unknown-name"
    exit_code = 11


class InvalidInputError(PerfsageError):
    """A value, option or file cannot be used."""

    slug = "invalid-input"
    exit_code = 12


class MissingExtraError(PerfsageError):
    """An optional package is needed and not installed."""

    slug = "missing-extra"
    exit_code = 13

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed",
            hint=f"Install it with: pip install 'perfsage[{extra}]'",
        )


class DatasetError(PerfsageError):
    """The database cannot do what was asked."""

    slug = "dataset"
    exit_code = 20


class SchemaVersionError(DatasetError):
    """The database is at another migration than this version of PerfSAGE."""

    slug = "schema-version"
    exit_code = 21


class PredictorError(PerfsageError):
    """A predictor folder is missing, damaged or of another version."""

    slug = "predictor"
    exit_code = 30


class ServiceError(PerfsageError):
    """The REST service refused a request or failed."""

    slug = "service"
    exit_code = 40


class DeviceError(PerfsageError):
    """A device or tool failed to measure."""

    slug = "device"
    exit_code = 50


class TransientDeviceError(DeviceError):
    """The same measurement may work when tried again."""

    slug = "device-transient"
    exit_code = 51


class StableDeviceError(DeviceError):
    """Trying again cannot help."""

    slug = "device-stable"
    exit_code = 52


class UnsupportedModelError(StableDeviceError):
    """The device works, but cannot run this model."""

    slug = "unsupported-model"
    exit_code = 53
