"""What an idle connection costs the server, with TLS and without.

    python3 benches/scripts/tls_idle.py target/release/switchboard 3000

The resident memory that so many classic connections add, beyond the first 100: after their handshakes, and after each has had
an answer to a heartbeat. Needs openssl.
"""

import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time

REQUEST = (
    "GET /socket.io?user=u{} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# type = "heatbeat", masked with zeros.
HEARTBEAT = b"\x82\x8a\0\0\0\0\x3a\x08heatbeat"
FIRST = 100
REST_SECONDS = 3


def resident_kib(process):
    time.sleep(REST_SECONDS)
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


def connect(port, context, user):
    stream = socket.create_connection(("127.0.0.1", port))
    if context:
        stream = context.wrap_socket(stream, server_hostname="localhost")
    stream.sendall(REQUEST.format(user).encode())
    answer = b""
    while b"welcome!" not in answer:
        answer += stream.recv(4096)
    return stream


def measure(binary, connections, folder, is_tls):
    key, certificate = f"{folder}/key.pem", f"{folder}/cert.pem"
    arguments = [binary, "serve", "--listen", "127.0.0.1:0", "--data", f"{folder}/data-{is_tls}"]
    context = None
    if is_tls:
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        make = ["openssl", "req", "-x509", *kind, *subject, "-keyout", key, "-out", certificate]
        subprocess.run(make, check=True, stderr=subprocess.DEVNULL)
        arguments += ["--tls-cert", certificate, "--tls-key", key]
        context = ssl.create_default_context(cafile=certificate)
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env={"NO_COLOR": "1"})
    try:
        port = None
        while not port:
            port = re.search(r"address=127.0.0.1:(\d+)", process.stderr.readline())
        port = int(port.group(1))
        streams = [connect(port, context, user) for user in range(FIRST)]
        before = resident_kib(process)
        streams += [connect(port, context, user) for user in range(FIRST, FIRST + connections)]
        idle = resident_kib(process)
        for stream in streams:
            stream.sendall(HEARTBEAT)
        for stream in streams:
            stream.recv(4096)
        used = resident_kib(process)
    finally:
        process.terminate()
        process.wait()
    each = [(kib - before) / connections for kib in (idle, used)]
    print(f"{'TLS' if is_tls else 'plain'}: {each[0]:.2f} KiB each, {each[1]:.2f} after a heartbeat", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for is_tls in (False, True):
            measure(sys.argv[1], int(sys.argv[2]), folder, is_tls)
