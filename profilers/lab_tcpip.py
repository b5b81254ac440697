"""Hands a phone's ADB over from USB to the network, so that its USB power can be cut."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from perfsage.errors import DeviceError, StableDeviceError, TransientDeviceError
from profilers.adb.address import Address
from profilers.adb.transport import Adb

_ADDRESS = re.compile(r"src (\d+\.\d+\.\d+\.\d+)")
TAKEOVER_S = 15.0


@contextmanager
def over_network(adb: Adb, port: int) -> Iterator[None]:
    """Reach the phone over its network within this block, and let it listen at its cable alone afterwards."""
    cable = adb.address
    adb.move_to(hand_over(adb, port=port))
    try:
        yield
    finally:
        with contextlib.suppress(DeviceError):
            adb.service("usb:")
        adb.move_to(cable)


def hand_over(adb: Adb, *, port: int = 5555) -> Address:
    """Let the phone listen on `port` of its own network address, and return that address.

    StableDeviceError where the phone has no network. The phone's adbd restarts.
    """
    routes = adb.run("ip route get 1.1.1.1 2>/dev/null || ip route", check=False).text
    found = _ADDRESS.search(routes)
    if found is None:
        raise StableDeviceError(
            "the phone has no network address",
            where=f"phone {adb.address}",
            hint="Connect it to the Wi-Fi of this machine; airplane mode keeps Wi-Fi when it is on again.",
        )
    with contextlib.suppress(TransientDeviceError):  # adbd restarts, often before it has answered
        adb.service(f"tcpip:{port}")
    address = Address(host=found[1], port=port)
    deadline = time.monotonic() + TAKEOVER_S
    while True:
        try:
            with Adb(address, key_path=adb.key_path, patience_s=1.0) as over_network:
                over_network.run("true")
            return address
        except TransientDeviceError as error:
            if time.monotonic() > deadline:
                raise TransientDeviceError(
                    f"the phone does not answer at {address}",
                    where=f"phone {adb.address}",
                    hint="Check that both are in one network. Android 11 may want `Wireless debugging` on.",
                ) from error
