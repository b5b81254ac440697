"""One connected phone, ready to measure: locked, clean, with its runner on it and its controls set."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, suppress

from perfsage.errors import DeviceError
from profilers.adb.address import Address
from profilers.adb.conditions import State, wait_until_cool
from profilers.adb.control import Control
from profilers.adb.jobs import ROOT, Jobs
from profilers.adb.lock import phone_lock
from profilers.adb.properties import Properties, read_properties
from profilers.adb.runner import Installed, install
from profilers.adb.settings import PhoneSettings
from profilers.adb.transport import Adb, StorageFullError
from profilers.lab_tcpip import over_network
from profilers.profiler import Model

MODELS = f"{ROOT}/models"


class Session:
    """Holds a phone from `open` to `close`, whatever happens in between."""

    def __init__(self, settings: PhoneSettings) -> None:
        self.settings = settings
        self.adb = Adb(settings.address, key_path=settings.key_path, patience_s=settings.patience_s)
        self.jobs = Jobs(self.adb)
        self.left_over = 0
        """Processes that an earlier, interrupted run had left on the phone, and that were ended."""
        self.controls: dict[str, str | int | float | bool] = {}
        self._stack = ExitStack()
        self._runner: Installed | None = None
        self._properties: Properties | None = None

    def open(self) -> None:
        """Take the phone; errors leave nothing behind."""
        with ExitStack() as stack:
            stack.enter_context(phone_lock(Address.parse(self.settings.address)))
            stack.callback(self.adb.close)
            if self.settings.tcpip_port is not None:
                stack.enter_context(over_network(self.adb, self.settings.tcpip_port))
            self.left_over = self.jobs.clean()
            stack.callback(self._end_jobs)
            control = Control(self.adb, self.jobs, self.settings.controls)
            stack.callback(control.restore)
            self.controls = control.apply()
            self._properties = read_properties(self.adb)
            self._runner = install(self.adb, self.jobs, self.settings.runner, self._properties)
            self._stack = stack.pop_all()

    def _end_jobs(self) -> None:
        with suppress(DeviceError):
            self.jobs.end()

    @property
    def runner(self) -> Installed:
        """The installed runner."""
        assert self._runner is not None, "the session is not open"
        return self._runner

    @property
    def properties(self) -> Properties:
        """What the phone is."""
        assert self._properties is not None, "the session is not open"
        return self._properties

    @property
    def is_open(self) -> bool:
        """Whether the phone is held."""
        return self._runner is not None

    def cool(self) -> State:
        """Wait until the phone is cool enough and return its state."""
        return wait_until_cool(self.adb, self.settings.cooling)

    def push_model(self, model: Model) -> str:
        """Put the model on the phone and return its path; older models make room when there is none."""
        path = f"{MODELS}/{hashlib.sha256(model.data).hexdigest()}.tflite"
        try:
            self.adb.push(model.data, path)
        except StorageFullError:
            self.adb.run(f"rm -f {MODELS}/*")
            self.adb.push(model.data, path)
        return path

    def close(self) -> None:
        """Put the phone back as it was, and let go of it."""
        self._runner = None
        self._stack.close()
