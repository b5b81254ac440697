"""One ADB connection with adb-shell, its exceptions turned into ours. No retries here."""

from __future__ import annotations

import io
import itertools
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perfsage.errors import DeviceError, MissingExtraError, StableDeviceError, TransientDeviceError
from profilers.adb.address import Address
from profilers.adb.keys import default_key_path, load_signer

CONNECT_TIMEOUT_S = 5.0
AUTH_TIMEOUT_S = 10.0
SERVICE_TIMEOUT_S = 2.0
"""A service such as `tcpip:` answers at once, or restarts adbd and never does."""
STDOUT, STDERR, EXIT = 1, 2, 3


class CommandTimeoutError(StableDeviceError):
    """A command took longer than it may; it was ended."""


class Wire:
    """A connection that opens itself when needed and is closed on the first error."""

    def __init__(self, address: Address, key_path: Path | None) -> None:
        self._address = address
        self._key_path = key_path or default_key_path()
        self._device: Any = None

    def shell(self, command: str, timeout_s: float, limit_bytes: int) -> tuple[int, bytes, bytes]:
        """Return exit code, standard output and standard error of a shell command."""
        deadline = time.monotonic() + timeout_s
        streams: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray(), EXIT: bytearray()}
        with self._translated():
            for kind, data in self._packets(command, deadline, timeout_s):
                streams.setdefault(kind, bytearray()).extend(data)
                if len(streams[STDOUT]) + len(streams[STDERR]) > limit_bytes:
                    raise self._ended(StableDeviceError, f"printed more than {limit_bytes} bytes", command)
        if not streams[EXIT]:
            raise self._ended(TransientDeviceError, "ended without an exit code", command)
        return streams[EXIT][0], bytes(streams[STDOUT]), bytes(streams[STDERR])

    def push(self, data: io.BytesIO, remote: str, mode: int, timeout_s: float) -> None:
        """Write the stream to the path `remote`."""
        with self._translated():
            step_s = min(timeout_s, 30.0)
            self._connected().push(
                data, remote, st_mode=0o100000 | mode, transport_timeout_s=step_s, read_timeout_s=step_s
            )

    def service(self, name: str) -> str:
        """Return what a service of adbd answers; the connection may end with it."""
        kind, _, argument = name.partition(":")
        with self._translated():
            stream = self._connected()._streaming_service(
                kind.encode(),
                argument.encode(),
                transport_timeout_s=SERVICE_TIMEOUT_S,
                read_timeout_s=SERVICE_TIMEOUT_S,
                decode=False,
            )
            said = b"".join(itertools.islice(stream, 16))
        self.close()
        return said.decode("utf-8", "backslashreplace").strip()

    def close(self) -> None:
        """Close the connection; remote commands that read from it end."""
        device, self._device = self._device, None
        if device is not None:
            device.close()

    def _packets(self, command: str, deadline: float, timeout_s: float) -> Iterator[tuple[int, bytes]]:
        """Cut the stream of the shell protocol: 1 byte kind, 4 bytes length, data."""
        device = self._connected()
        buffer = bytearray()
        stream = device._streaming_service(
            b"shell,v2,raw",
            command.encode(),
            transport_timeout_s=timeout_s,
            read_timeout_s=timeout_s,
            decode=False,
        )
        for chunk in self._bounded(stream, deadline, command):
            buffer += chunk
            while len(buffer) >= 5:
                kind, length = struct.unpack_from("<BI", buffer)
                if kind > 6:
                    raise self._ended(
                        StableDeviceError, "got no answer in shell protocol 2 (Android 7)", command
                    )
                if len(buffer) < 5 + length:
                    break
                yield kind, bytes(buffer[5 : 5 + length])
                del buffer[: 5 + length]

    def _bounded(self, stream: Iterator[bytes], deadline: float, command: str) -> Iterator[bytes]:
        from adb_shell import exceptions

        try:
            for chunk in stream:
                yield chunk
                if time.monotonic() > deadline:
                    raise self._ended(CommandTimeoutError, "took too long", command)
        except (exceptions.TcpTimeoutException, exceptions.AdbTimeoutError):
            if time.monotonic() < deadline - 0.5:
                raise
            raise self._ended(CommandTimeoutError, "took too long", command) from None

    def _ended(self, kind: type[DeviceError], what: str, command: str) -> DeviceError:
        self.close()
        return kind(f"{command[:80]!r} {what}", where=f"phone {self._address}", hint="Try it with: adb shell")

    def _connected(self) -> Any:
        if self._device is None:
            self._device = self._connect()
        return self._device

    def _connect(self) -> Any:
        signer = load_signer(self._key_path)
        device = self._new_device()
        asked: list[bool] = []
        try:
            device.connect(
                rsa_keys=[signer],
                transport_timeout_s=CONNECT_TIMEOUT_S,
                auth_timeout_s=AUTH_TIMEOUT_S,
                read_timeout_s=CONNECT_TIMEOUT_S,
                auth_callback=lambda _: asked.append(True),
            )
        except BaseException as error:
            device.close()
            if asked and isinstance(error, Exception):
                raise self._unauthorized() from error
            raise
        return device

    def _unauthorized(self) -> StableDeviceError:
        return StableDeviceError(
            "the phone does not accept this machine's key",
            where=f"phone {self._address}, key {self._key_path}",
            hint="Unlock the phone, allow USB debugging for this computer for good, and try again.",
        )

    def _new_device(self) -> Any:
        try:
            from adb_shell.adb_device import AdbDevice, AdbDeviceUsb
            from adb_shell.exceptions import InvalidTransportError

            from profilers.adb.closing_tcp import ClosingTcpTransport
        except ImportError:
            raise MissingExtraError("adb-shell", "adb") from None
        if self._address.host is not None:
            return AdbDevice(ClosingTcpTransport(self._address.host, self._address.port), banner=b"perfsage")
        try:
            return AdbDeviceUsb(self._address.usb_serial or None, banner=b"perfsage")
        except InvalidTransportError:
            raise MissingExtraError("adb-shell[usb]", "usb") from None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what adb-shell raises into transient errors; close the connection after any error."""
        try:
            yield
        except DeviceError:
            self.close()
            raise
        except Exception as error:
            self.close()
            if isinstance(error, MissingExtraError) or not _is_connection_error(error):
                raise
            raise TransientDeviceError(
                f"the connection failed: {error or type(error).__name__}", where=f"phone {self._address}"
            ) from error
        except BaseException:  # Ctrl-C in the middle of a message leaves the stream unusable
            self.close()
            raise


def _is_connection_error(error: Exception) -> bool:
    module = type(error).__module__
    return isinstance(error, (OSError, struct.error, KeyError)) or module.startswith(("adb_shell", "usb1"))
