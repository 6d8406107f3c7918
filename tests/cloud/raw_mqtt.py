"""MQTT 5 by hand over mutual TLS: for packets that no client library would send."""

import socket
import ssl
import struct
from pathlib import Path

ANSWER_S = 20.0
SUCCESS, NOT_AUTHORIZED, NO_SUBSCRIBERS = 0x00, 0x87, 0x10


def text(raw: bytes) -> bytes:
    """As section 1.5.4 writes it, whatever `raw` is."""
    return struct.pack(">H", len(raw)) + raw


def packet(first: int, body: bytes) -> bytes:
    """A control packet with its length, section 2.1."""
    length, head = len(body), bytearray([first])
    while True:
        length, low = divmod(length, 128)
        head.append(low | (128 if length else 0))
        if not length:
            return bytes(head) + body


class RawDevice:
    """A connection under the name in a certificate; `tls` is (ca, certificate, key)."""

    def __init__(self, port: int, tls: tuple[Path, Path, Path]) -> None:
        context = ssl.create_default_context(cafile=str(tls[0]))
        context.load_cert_chain(tls[1], tls[2])
        plain = socket.create_connection(("127.0.0.1", port), ANSWER_S)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.send(packet(0x10, text(b"MQTT") + b"\x05\x02\x00\x3c\x00" + text(b"whoever")))
        assert self.read()[0] == 0x20

    def send(self, raw: bytes) -> None:
        """Anything."""
        self.socket.sendall(raw)

    def read(self) -> bytes:
        """One packet; empty when the broker has hung up."""
        try:
            head = self.socket.recv(2)
            return head + self.socket.recv(head[1]) if len(head) == 2 else head
        except OSError:  # ssl.SSLError is one, too: it hangs up in several ways
            return b""

    def publish(self, topic: bytes, payload: bytes = b"x", qos: int = 1) -> None:
        """PUBLISH, at QoS 1 with the id 7."""
        self.send(packet(0x30 | qos << 1, text(topic) + (b"\x00\x07" if qos else b"") + b"\x00" + payload))

    def reason(self) -> int:
        """What the broker's PUBACK says."""
        answer = self.read()
        assert answer[0] == 0x40, answer
        return answer[4] if len(answer) > 4 else SUCCESS

    def subscribe(self, wanted: bytes) -> None:
        """SUBSCRIBE, and its answer."""
        self.send(packet(0x82, b"\x00\x01\x00" + text(wanted) + b"\x01"))
        assert self.read()[0] == 0x90

    def wait_hung_up(self) -> None:
        """Until the broker has ended the connection."""
        while self.read():
            pass

    def close(self) -> None:
        """As a cable that is pulled."""
        self.socket.close()
