"""Receives pushes over a raw socket: the handshake and the frames of RFC 6455
with nothing but the standard library. Comes back after a close, unless the
close code says to stay away.

Usage: client.py HOST:PORT PATH ORIGIN COOKIE [--mute]

With --mute it behaves like a dead peer: it answers no pings and does not come
back.
"""

import base64
import hashlib
import json
import os
import random
import socket
import struct
import sys
import time

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def handshake(sock, stream, host, path, origin, cookie):
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nCookie: {cookie}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
    )
    status = stream.readline()
    if b" 101 " not in status:
        raise ConnectionError(f"the server answered {status!r}")
    accept = None
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-accept":
            accept = value.strip()
    magic = (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()
    if accept != base64.b64encode(hashlib.sha1(magic).digest()):
        sys.exit("the server does not speak WebSocket")


def read(stream, size):
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("the connection was cut")
    return data


def frame(stream):
    """Returns the opcode and the payload of the next frame."""
    first, size = read(stream, 2)
    if not first & 0x80 or first & 0x70 or size & 0x80:
        sys.exit("a fragment, an extension or a mask, which this client does not know")
    if size == 126:
        (size,) = struct.unpack(">H", read(stream, 2))
    elif size == 127:
        (size,) = struct.unpack(">Q", read(stream, 8))
    return first & 0xF, read(stream, size)


def send(sock, opcode, payload):
    """Sends one frame, masked with random bytes as a client must."""
    head = bytes([0x80 | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
    mask = os.urandom(4)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    sock.sendall(head + mask + masked)


class Record:
    """The messages of all connections."""

    def __init__(self):
        self.lengths, self.kinds, self.digest = [], set(), bytes(32)

    def add(self, opcode, payload):
        if opcode == TEXT:
            payload.decode()  # fails if the payload is not UTF-8
        self.kinds.add({TEXT: "text", BINARY: "binary"}[opcode])
        self.lengths.append(len(payload))
        self.digest = hashlib.sha256(self.digest + payload).digest()

    def line(self):
        record = {"lengths": self.lengths, "digest": self.digest.hex(), "kinds": sorted(self.kinds)}
        return json.dumps(record).encode() + b"\n"


def receive(sock, stream, record, mute):
    """Serves the connection until its end and returns its close code."""
    while True:
        opcode, payload = frame(stream)
        if opcode == PING:
            if not mute:
                send(sock, PONG, payload)
        elif opcode == CLOSE:
            try:
                send(sock, CLOSE, payload)
            except OSError:
                pass  # the server did not wait for it, and its code still counts
            return struct.unpack(">H", payload[:2])[0] if payload else 1005  # no code
        elif payload == b"report":
            send(sock, TEXT, record.line())
        else:
            record.add(opcode, payload)


def connect(host, path, origin, cookie, record, mute):
    """Serves one connection and returns its close code, or 1006 if it was cut."""
    name, _, port = host.rpartition(":")
    try:
        with socket.create_connection((name, int(port)), timeout=60) as sock:
            stream = sock.makefile("rb")
            handshake(sock, stream, host, path, origin, cookie)
            record.opened = time.monotonic()
            return receive(sock, stream, record, mute)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1006


def comes_back(status):
    """Reports whether to come back: not after 1000, nor after 4500 to 4999."""
    return status != 1000 and not 4500 <= status <= 4999


def main():
    mute = "--mute" in sys.argv[5:]
    record, failures = Record(), 0
    while True:
        record.opened = float("inf")  # not yet
        status = connect(*sys.argv[1:5], record, mute)
        if mute or not comes_back(status):
            break
        failures = 0 if time.monotonic() - record.opened > 5 else min(failures + 1, 5)
        time.sleep(random.random() * 2**failures)
    print("closed with", status)


main()
