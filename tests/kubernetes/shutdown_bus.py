"""Stands for systemd's logind on a machine that has none: just so much of D-Bus that a kubelet asks to be told of a shutdown, and is.

``python -m tests.kubernetes.shutdown_bus SOCKET``: prints ``asked`` when the kubelet holds its lock, and at each line of its
input tells it that the machine is about to go down. It says so only; nothing is shut down.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

LITTLE_ENDIAN = b"l"[0]
CALL, ANSWER, SIGNAL = 1, 2, 4
#: header fields
PATH, INTERFACE, MEMBER, ANSWERS_TO, SENDER, SIGNATURE, DESCRIPTORS = 1, 2, 3, 5, 7, 8, 9
OBJECT, MANAGER = "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
#: what a kubelet may ask for at most
LONGEST_DELAY_MICROSECONDS = 3_600_000_000


def main(place: str) -> None:
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(place)
        door.listen()
        while True:  # a kubelet that is started again comes again
            connection, _ = door.accept()
            Bus(connection).serve()


class Bus:
    """One kubelet's connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._buffer, self._serial = connection, b"", 0

    def serve(self) -> None:
        self._let_in()
        for last in ("Inhibit", "AddMatch"):  # it holds the lock, and listens
            while self._read_one() != last:
                pass
        print("asked", flush=True)
        for _ in sys.stdin:
            fields = {PATH: ("o", OBJECT), INTERFACE: ("s", MANAGER), MEMBER: ("s", "PrepareForShutdown"), SIGNATURE: ("g", "b")}
            self._send(SIGNAL, fields, struct.pack("<I", 1))

    def _let_in(self) -> None:
        self._need(1)
        self._buffer = self._buffer[1:]
        while True:
            while b"\r\n" not in self._buffer:
                self._need(len(self._buffer) + 1)
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            if line == b"BEGIN":
                return
            answer = {b"AUTH": b"REJECTED EXTERNAL", b"NEGOTIATE_UNIX_FD": b"AGREE_UNIX_FD"}.get(line, b"OK " + b"0" * 32)
            self._connection.sendall(answer + b"\r\n")

    def _read_one(self) -> str:
        """The next call is answered; the name of what was called."""
        self._need(16)
        _, _, _, _, body, serial, fields = struct.unpack("<BBBBIII", self._buffer[:16])
        header = 16 + fields + (-fields) % 8
        self._need(header + body)
        member = _text_field(self._buffer[16 : 16 + fields], MEMBER)
        self._buffer = self._buffer[header + body :]
        answers = {ANSWERS_TO: ("u", serial)}
        if member == "Hello":
            self._send(ANSWER, {**answers, SIGNATURE: ("g", "s")}, _text(":1.1"))
        elif member == "Get":
            value = b"\x01t\x00".ljust(8, b"\0") + struct.pack("<Q", LONGEST_DELAY_MICROSECONDS)
            self._send(ANSWER, {**answers, SIGNATURE: ("g", "v")}, value)
        elif member == "Inhibit":
            lock, _ = os.pipe()
            self._send(ANSWER, {**answers, SIGNATURE: ("g", "h"), DESCRIPTORS: ("u", 1)}, struct.pack("<I", 0), lock)
        else:
            self._send(ANSWER, answers, b"")
        return member

    def _send(self, kind: int, fields: Mapping[int, tuple[str, str | int]], body: bytes, *descriptors: int) -> None:
        self._serial += 1
        packed = b""
        for number, (type_, value) in {SENDER: ("s", "org.freedesktop.login1"), **fields}.items():
            packed += b"\0" * (-len(packed) % 8) + bytes([number, 1]) + type_.encode() + b"\0"
            packed += struct.pack("<I", value) if isinstance(value, int) else _text(value, short=type_ == "g")
        head = struct.pack("<BBBBIII", LITTLE_ENDIAN, kind, 0, 1, len(body), self._serial, len(packed))
        socket.send_fds(self._connection, [head + packed + b"\0" * (-len(packed) % 8) + body], list(descriptors))

    def _need(self, count: int) -> None:
        while len(self._buffer) < count:
            if not (more := self._connection.recv(65536)):
                raise SystemExit("the kubelet has gone")
            self._buffer += more


def _text(value: str, *, short: bool = False) -> bytes:
    data = value.encode()
    return (bytes([len(data)]) if short else struct.pack("<I", len(data))) + data + b"\0"


def _text_field(fields: bytes, wanted: int) -> str:
    """A header field that is a text, of an array of (number, variant)."""
    place = 0
    while place < len(fields):
        place += -place % 8
        number, type_ = fields[place], chr(fields[place + 2])
        place += 4
        if type_ == "u":
            place += 4
            continue
        size = fields[place] if type_ == "g" else struct.unpack("<I", fields[place : place + 4])[0]
        place += 1 if type_ == "g" else 4
        if number == wanted:
            return fields[place : place + size].decode()
        place += size + 1
    return ""


if __name__ == "__main__":
    main(sys.argv[1])
