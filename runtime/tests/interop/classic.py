#!/usr/bin/env python3
"""Walks through the rules of the classic protocol, against a running server.

    python3 classic.py 127.0.0.1:8888 [GROUP MEMBER MEMBER]

Python's standard library and nothing else: this file speaks WebSocket (RFC 6455) and protobuf by itself, so it
shares no code with any server. Rule 4 needs a group and two of its members, whom nobody else uses; a server that
stores nothing yet gives them with `switchboard group create`. Prints one line for each rule and exits with 0 if
all hold.
"""

import base64
import hashlib
import os
import socket
import struct
import sys
import urllib.parse

PATIENCE_S = 20

# Number and name of each field of protocol.Message; 6 and 8 are int32, 11 is bytes, the others are strings.
FIELDS = {
    1: "avatar", 2: "fromUsername", 3: "from", 4: "to", 5: "content", 6: "contentType", 7: "type",
    8: "messageType", 9: "url", 10: "fileSuffix", 11: "file",
}
NUMBERS = {name: number for number, name in FIELDS.items()}
VARINTS = {6, 8}
BYTES = {11}

BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


class Failed(Exception):
    """A rule does not hold."""


def check(holds, what):
    if not holds:
        raise Failed(what)


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at


def encode(**fields):
    """A protocol.Message; fields with their default values are left out, as proto3 has it."""
    out = bytearray()
    for number in sorted(FIELDS):
        value = fields.get(FIELDS[number])
        if not value:
            continue
        if number in VARINTS:
            out += varint(number << 3) + varint(value)
        else:
            data = value if isinstance(value, bytes) else value.encode()
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return bytes(out)


def decode(data):
    """All fields of a protocol.Message, defaults included; unknown ones are passed over."""
    message = {FIELDS[n]: 0 if n in VARINTS else b"" if n in BYTES else "" for n in FIELDS}
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = read_varint(data, at)
            value -= (value >> 63) << 64
        elif kind == 2:
            size, at = read_varint(data, at)
            check(at + size <= len(data), "a message is cut short")
            value = data[at:at + size]
            at += size
            if number in FIELDS and number not in BYTES:
                value = value.decode()
        else:
            raise Failed(f"a message has a field of wire type {kind}")
        if number in FIELDS:
            message[FIELDS[number]] = value
    return message


class Client:
    """One WebSocket."""

    def __init__(self, address, user, origin="http://elsewhere.example"):
        self.user = user
        self.received = b""
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        query = urllib.parse.urlencode({"user": user})
        self.socket.sendall(
            f"GET /socket.io?{query} HTTP/1.1\r\nHost: {address[0]}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Origin: {origin}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.received:
            self.more()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        if self.status == 101:
            accept = base64.b64encode(
                hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            ).decode()
            check(headers.get("sec-websocket-accept") == accept, "Sec-WebSocket-Accept is wrong")
            check("sec-websocket-protocol" not in headers, "a subprotocol that nobody asked for")

    def more(self):
        data = self.socket.recv(1 << 16)
        check(data, f"the server has closed {self.user}'s connection")
        self.received += data

    def take(self, count):
        while len(self.received) < count:
            self.more()
        data, self.received = self.received[:count], self.received[count:]
        return data

    def send_frame(self, opcode, payload):
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def send(self, **fields):
        self.send_frame(BINARY, encode(**fields))

    def recv_bytes(self):
        while True:
            first, second = self.take(2)
            check(second < 0x80, "a server's frame is masked")
            size = second
            if second == 126:
                size, = struct.unpack("!H", self.take(2))
            elif second == 127:
                size, = struct.unpack("!Q", self.take(8))
            payload = self.take(size)
            if first == 0x80 | PING:
                self.send_frame(PONG, payload)
            elif first == 0x80 | CLOSE:
                raise Failed(f"the server closes {self.user}'s connection: {payload!r}")
            elif first == 0x80 | BINARY:
                return payload
            else:
                check(first == 0x80 | PONG, f"a frame that begins with {first:#x}")

    def recv(self):
        return decode(self.recv_bytes())

    def welcomed(self):
        check(self.status == 101, f"the handshake is answered with {self.status}")
        self.recv()
        return self

    def has_nothing_more(self):
        self.send(type="heatbeat")
        message = self.recv()
        check(message["type"] == "heatbeat", f"{self.user} receives more than expected: {message}")


class Walk:
    """The rules, in their order."""

    def __init__(self, address, group=None, members=()):
        self.address, self.group, self.members = address, group, members
        # Users of this run alone, and of one rule: who comes back is sent again what has perhaps not arrived.
        self.run = os.urandom(4).hex()
        self.rule = ""

    def client(self, name):
        return Client(self.address, f"{name}-{self.rule}-{self.run}").welcomed()

    def rule_1_whoever_names_a_user_is_connected(self):
        check(Client(self.address, f"anybody-{self.run}").status == 101, "no upgrade for a user")
        check(Client(self.address, "").status == 400, "an empty user is not answered with 400")

    def rule_2_the_first_frame_is_a_welcome(self):
        user = f"newcomer-{self.run}"
        welcome = Client(self.address, user).recv()
        expected = dict(decode(b""), **{"from": "System", "to": user, "content": "welcome!"})
        check(welcome == expected, f"the first frame is {welcome}")

    def rule_3_a_heartbeat_is_answered_and_never_routed(self):
        alice, bob = self.client("alice"), self.client("bob")
        alice.send(type="heatbeat", to=bob.user, content="ping")
        pong = alice.recv()
        check((pong["type"], pong["content"]) == ("heatbeat", "pong"), f"the answer is {pong}")
        bob.has_nothing_more()

    def rule_4_chat_reaches_the_user_or_the_group(self):
        alice, bob = self.client("alice"), self.client("bob")
        alice.send(**{"from": "mallory"}, to=bob.user, content="hello", contentType=1, messageType=1, avatar="a.png")
        message = bob.recv()
        check(message["from"] == alice.user, f"from is {message['from']}")
        check((message["to"], message["content"]) == (bob.user, "hello"), f"the message is {message}")
        check(self.group, "a group and two members are needed: give them as arguments")
        sender, member = (Client(self.address, user).welcomed() for user in self.members)
        sender.send(
            to=self.group, content="hello all", contentType=1, messageType=2, avatar="forged.png",
            fromUsername="Sender", fileSuffix="png", url="u.png",
        )
        message = member.recv()
        expected = dict(
            decode(b""), **{"from": self.group}, to=sender.user, content="hello all", contentType=1,
            messageType=2, fromUsername="Sender", url="u.png",
        )
        check(message == expected, f"the group's message is {message}")
        alice.has_nothing_more()

    def rule_5_calls_are_relayed_byte_for_byte(self):
        alice, bob = self.client("alice"), self.client("bob")
        for content_type in (0, 6, 7, 8, 10, 20):
            frame = encode(
                **{"from": alice.user}, to=bob.user, type="webrtc", contentType=content_type, messageType=2,
                content="v=0",
            )
            alice.send_frame(BINARY, frame)
            check(bob.recv_bytes() == frame, f"content type {content_type} is changed on its way")

    def rule_6_without_a_recipient_it_goes_to_everybody(self):
        alice, bob, carol = self.client("alice"), self.client("bob"), self.client("carol")
        alice.send(content="hear, hear", contentType=1)
        for client in (alice, bob, carol):
            message = client.recv()
            check((message["from"], message["content"]) == (alice.user, "hear, hear"), f"{client.user} receives {message}")

    def rule_7_the_sender_has_no_echo(self):
        alice, bob = self.client("alice"), self.client("bob")
        alice.send(to=bob.user, content="no echo", contentType=1, messageType=1)
        alice.send(to=bob.user, type="webrtc", contentType=0, content="none here")
        # What is relayed is not stored, and need not wait for what is: either may come first.
        contents = {bob.recv()["content"] for _ in range(2)}
        check(contents == {"no echo", "none here"}, f"bob receives {contents}")
        alice.has_nothing_more()

    def rule_8_an_upload_becomes_a_name(self):
        alice, bob = self.client("alice"), self.client("bob")
        uploads = [
            (3, b"\x89PNG\r\n\x1a\n and so on", "html"),
            (2, b"plain text", "txt"),
            (4, b"ID3\x03\0\0\0\0\0\0", "mp3"),
            (5, b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "mp4"),
            (3, b"\x89PNG\r\n\x1a\n" + bytes(200_000), "png"),
        ]
        for content_type, data, suffix in uploads:
            alice.send(to=bob.user, contentType=3, messageType=1, file=data, fileSuffix=suffix)
            message = bob.recv()
            self.check_upload(message, content_type)
        content = "data:image/png;base64," + base64.b64encode(uploads[0][1]).decode()
        alice.send(to=bob.user, contentType=2, messageType=1, content=content)
        message = bob.recv()
        self.check_upload(message, 3)
        check(message["content"] == "", "the data URL is still in the content")
        alice.send(to=bob.user, contentType=2, messageType=1, content="x")
        check(bob.recv()["content"] == "x", "a short content is not kept as it is")

    def check_upload(self, message, content_type):
        check(message["file"] == b"", "the file is still in the message")
        check(message["url"] and "/" not in message["url"], f"the url is {message['url']!r}")
        check(message["contentType"] == content_type, f"content type {message['contentType']}, not {content_type}")


def main():
    if len(sys.argv) not in (2, 5):
        sys.exit(__doc__)
    host, _, port = sys.argv[1].rpartition(":")
    walk = Walk((host.strip("[]"), int(port)), *([sys.argv[2], sys.argv[3:]] if len(sys.argv) == 5 else []))
    failed = 0
    for name in sorted(name for name in dir(walk) if name.startswith("rule_")):
        try:
            walk.rule = name.split("_")[1]
            getattr(walk, name)()
            verdict = "ok"
        except (Failed, OSError, IndexError, UnicodeDecodeError) as error:
            verdict = f"failed: {error or type(error).__name__}"
            failed += 1
        print(f"{name.replace('_', ' ')}: {verdict}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
