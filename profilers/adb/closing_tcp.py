"""adb-shell's TCP transport, noticing at once when the other side is gone."""

from __future__ import annotations

from adb_shell.transport.tcp_transport import TcpTransport


class ClosingTcpTransport(TcpTransport):  # type: ignore[misc]  # adb-shell carries no types
    """Raises ConnectionResetError at end of stream, which adb-shell would poll until its time-out."""

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        """Read up to `numbytes`; ConnectionResetError when the phone closed the connection."""
        data: bytes = super().bulk_read(numbytes, transport_timeout_s)
        if not data and numbytes:
            raise ConnectionResetError("the phone closed the connection")
        return data
