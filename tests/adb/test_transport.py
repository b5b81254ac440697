"""The transport against a real adbd: exit codes, files, and every way in which a phone goes away."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import socketserver
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perfsage.errors import InvalidInputError, StableDeviceError, TransientDeviceError
from profilers.adb.address import Address
from profilers.adb.transport import Adb, StorageFullError
from profilers.adb.wire import CommandTimeoutError
from tests.adb.phones import Phone

Connect = Callable[..., Adb]
TMP = "/data/local/tmp"


def test_commands_keep_exit_code_and_streams_apart(adb: Adb) -> None:
    done = adb.run("echo out; echo err >&2; exit 7", check=False)
    assert (done.code, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert adb.run(["echo", "a b", "$HOME", "'"]).text == "a b $HOME '\n"
    with pytest.raises(StableDeviceError, match=r"'cat' ended with code 1: .*No such file"):
        adb.run(["cat", "/nowhere"])


def test_a_command_is_bounded_in_time_and_output(adb: Adb) -> None:
    begin = time.monotonic()
    with pytest.raises(CommandTimeoutError, match="took too long"):
        adb.run("sleep 60", timeout_s=0.5)
    assert time.monotonic() - begin < 5
    with pytest.raises(StableDeviceError, match="printed more than"):
        adb.run("yes", limit_bytes=1 << 16)
    assert adb.run("echo still here").text == "still here\n"


def test_a_file_is_pushed_once_and_whole(adb: Adb) -> None:
    data = os.urandom(3 << 20)
    assert adb.push(data, f"{TMP}/a folder/file", mode=0o755)
    assert not adb.push(data, f"{TMP}/a folder/file")
    assert adb.pull(f"{TMP}/a folder/file") == data
    assert adb.run(["stat", "-c", "%a", f"{TMP}/a folder/file"]).text == "755\n"
    changed = b"x" + data[1:]  # the same size
    assert adb.push(changed, f"{TMP}/a folder/file")
    assert adb.run(["ls", f"{TMP}/a folder"]).text == "file\n"


def test_a_full_phone_says_so(make_phone: Callable[..., Phone], connect: Connect) -> None:
    adb = connect(make_phone(size="4m").address, patience_s=5.0)
    with pytest.raises(StorageFullError, match="are to be stored"):
        adb.push(bytes(5 << 20), f"{TMP}/model")
    assert adb.push(bytes(1 << 20), f"{TMP}/model")


def test_a_phone_that_fills_up_while_a_file_is_sent_says_so(
    make_phone: Callable[..., Phone], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was room at first: somebody else took it meanwhile."""
    adb = connect(make_phone(size="4m").address, patience_s=5.0)
    monkeypatch.setattr(adb, "_make_room_check", lambda folder, size: adb.run(["mkdir", "-p", folder]))
    with pytest.raises(StorageFullError, match="filled up while"):
        adb.push(bytes(5 << 20), f"{TMP}/model", timeout_s=1.0)
    assert adb.run(["ls", TMP]).text == "", "nothing of it is left"
    assert adb.push(bytes(1 << 20), f"{TMP}/model")


def test_adbd_that_dies_between_commands_is_met_again(phone: Phone, adb: Adb) -> None:
    assert adb.run("echo 1").text == "1\n"
    phone.kill_adbd()
    assert adb.run("echo 2").text == "2\n"


def test_adbd_that_dies_during_a_command_is_met_again(phone: Phone, adb: Adb) -> None:
    killer = threading.Timer(0.3, phone.kill_adbd)
    killer.start()
    assert adb.run("sleep 1; echo done").text == "done\n"
    killer.join()


def test_a_phone_that_stays_away_is_given_up_in_time(phone: Phone, connect: Connect) -> None:
    adb = connect(phone.address, patience_s=1.5)
    adb.run("true")
    phone.off()
    begin = time.monotonic()
    with pytest.raises(TransientDeviceError, match="does not answer"):
        adb.run("true")
    assert 0.5 < time.monotonic() - begin < 5


def test_a_phone_that_comes_back_goes_on(phone: Phone, connect: Connect) -> None:
    adb = connect(phone.address, patience_s=20.0)
    adb.run("true")
    phone.off()
    back = threading.Timer(1.0, phone.boot)
    back.start()
    assert adb.run("echo back").text == "back\n"
    back.join()


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Stands between host and phone, and cuts the first connection after `limit` bytes to the phone."""

    daemon_threads = True

    def __init__(self, target: int, limit: int) -> None:
        super().__init__(("127.0.0.1", 0), CuttingHandler)
        self.target, self.limit, self.cuts = target, limit, 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class CuttingHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, CuttingProxy)
        near, passed = self.request, 0
        with socket.create_connection(("127.0.0.1", server.target)) as far, contextlib.suppress(OSError):
            ends = {near: far, far: near}
            while True:
                for source in select.select(list(ends), [], [])[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    ends[source].sendall(data)
                    passed += len(data) if source is near else 0
                if server.cuts == 0 and passed > server.limit:
                    server.cuts = 1
                    return


def test_a_connection_cut_in_the_middle_of_a_push_loses_nothing(phone: Phone, connect: Connect) -> None:
    data = os.urandom(4 << 20)
    with (
        CuttingProxy(phone.port, limit=1 << 20) as proxy,
        connect(f"127.0.0.1:{proxy.server_address[1]}") as adb,
    ):
        assert adb.push(data, f"{TMP}/model")
        assert proxy.cuts == 1
        assert adb.pull(f"{TMP}/model") == data
        assert adb.run(["ls", TMP]).text == "model\n"
        proxy.shutdown()


def test_an_unknown_key_is_refused_and_a_known_one_accepted(
    make_phone: Callable[..., Phone], key_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setattr("profilers.adb.wire.AUTH_TIMEOUT_S", 0.5)
    phone = make_phone(auth=True)
    adb = connect(phone.address, patience_s=10.0)
    begin = time.monotonic()
    with pytest.raises(StableDeviceError, match="does not accept this machine's key"):
        adb.run("true")
    assert time.monotonic() - begin < 5, "an unauthorized key must not be retried"
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
    public = key_path.with_name("adbkey.pub").read_text()
    phone.write("data/misc/adb/adb_keys", public + "\n")
    phone.restart()
    assert adb.run("echo welcome").text == "welcome\n"


def test_a_key_that_others_could_read_is_made_private(phone: Phone, key_path: Path, connect: Connect) -> None:
    connect(phone.address).run("true")
    key_path.chmod(0o644)
    connect(phone.address).run("true")
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600


def test_a_damaged_key_is_named(phone: Phone, key_path: Path, connect: Connect) -> None:
    key_path.parent.mkdir()
    key_path.write_text("not a key")
    key_path.with_name("adbkey.pub").write_text("neither")
    with pytest.raises(InvalidInputError, match=r"cannot be read.*adbkey"):
        connect(phone.address).run("true")


def test_a_peer_that_is_no_adbd_is_given_up(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

        threading.Thread(target=babble, daemon=True).start()
        adb = connect(f"127.0.0.1:{server.getsockname()[1]}", patience_s=0.5)
        with pytest.raises(TransientDeviceError):
            adb.run("true")


@pytest.mark.parametrize("text", ["", "phone", "phone:", "phone:0", "phone:99999", "a b:5555", "-x;y:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is not the address"):
        Address.parse(text)


def test_addresses_are_written_as_they_are_read() -> None:
    for text in ("10.0.0.7:5555", "[fe80::1]:5555", "usb:", "usb:0A1B2C"):
        assert str(Address.parse(text)) == text
