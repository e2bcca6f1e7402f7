#!/usr/bin/env python3
"""'metalora data get omniglot' against a real HTTPS server with a certificate authority of its own: ranges, connections that
break, kill -9 and Ctrl-C in the middle, redirects, wrong contents, a proxy.

    METALORA_BUILD=build python3 live_download.py

With METALORA_DATA the real archives are served and must end up verified in the cache; without it archives of noise are
served, which must arrive to the last byte and then be refused. Fails (exit code 1) at the first thing that is not so."""
import hashlib
import http.server
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

NAMES = ["images_background.zip", "images_evaluation.zip"]
PROGRAM = os.path.join(os.path.abspath(os.environ.get("METALORA_BUILD", "build")), "metalora")


def must(condition, what):
    if not condition:
        sys.exit(f"live_download: {what}")


def published():
    """The bytes of the archives, and whether they are the real ones."""
    root = os.environ.get("METALORA_DATA")
    for folder in [root, os.path.join(root, "omniglot")] if root else []:
        if os.path.exists(os.path.join(folder, NAMES[0])):
            return [open(os.path.join(folder, name), "rb").read() for name in NAMES], True
    noise = random.Random(4)
    return [noise.randbytes(3_000_000), noise.randbytes(2_000_000)], False


# ---- certificates ----

def certificates(folder):
    """ca.pem, and server.pem (with its key) for 127.0.0.1 and localhost, but not for 127.0.0.2."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "rsa:2048", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=metalora test")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    with open(os.path.join(folder, "names"), "w", encoding="ascii") as f:
        f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "server.crt")
    with open(os.path.join(folder, "server.pem"), "wb") as f:
        for name in ["server.key", "server.crt"]:
            f.write(open(os.path.join(folder, name), "rb").read())


# ---- the server ----

class Habits:
    """What the server does at the moment."""
    def __init__(self, archives):
        self.archives = dict(zip(NAMES, archives))
        self.log = []              # (name, first byte asked for or None)
        self.break_after = 0       # bytes of a connection
        self.rate = 0              # bytes per second
        self.ranges = True
        self.redirect = None       # address to which all is redirected
        self.missing = False


class Handler(http.server.BaseHTTPRequestHandler):
    habits = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        h, name = self.habits, os.path.basename(self.path)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        h.log.append((name, int(asked[1]) if asked else None))
        if h.redirect and not self.path.startswith("/moved/"):
            self.send_response(301)
            self.send_header("Location", f"{h.redirect}/moved/{name}")
            self.end_headers()
            return
        if h.missing or name not in h.archives:
            self.send_error(404)
            return
        data = h.archives[name]
        tag = '"' + hashlib.sha256(data).hexdigest()[:16] + '"'
        partial = asked and h.ranges and self.headers.get("If-Range", tag) == tag
        first = int(asked[1]) if partial else 0
        self.send_response(206 if partial else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - first))
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.send_body(data[first:])

    def send_body(self, data):
        h, block = self.habits, 20_000
        end = min(len(data), h.break_after or len(data))
        try:
            for at in range(0, end, block):
                self.wfile.write(data[at:min(at + block, end)])
                if h.rate:
                    time.sleep(block / h.rate)
        except OSError:            # the client has gone
            pass
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass                       # a client that does not trust us, or was killed


def serve(folder, habits):
    handler = type("Handler", (Handler,), {"habits": habits})
    server = Server(("0.0.0.0", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "server.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def proxy(log):
    """An HTTP proxy that knows CONNECT; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        host, port = re.match(rb"CONNECT ([^:]+):(\d+)", head).groups()
        log.append(host.decode())
        server = socket.create_connection((host.decode(), int(port)))
        client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        threading.Thread(target=pump, args=(client, server), daemon=True).start()
        pump(server, client)

    def accept():
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


# ---- the program ----

class World:
    def __init__(self, folder):
        self.folder, self.count = folder, 0
        archives, self.real = published()
        self.habits = Habits(archives)
        self.port = serve(folder, self.habits)

    def fresh(self, **settings):
        """Forgets what was downloaded; the server has the habits given."""
        self.count += 1
        archives = [self.habits.archives[name] for name in NAMES]
        self.habits.__init__(archives)
        for name, value in settings.items():
            setattr(self.habits, name, value)

    def environment(self, **more):
        keep = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("METALORA")}
        return keep | {"XDG_CACHE_HOME": os.path.join(self.folder, f"cache{self.count}"), "SSL_CERT_FILE": "",
                       "METALORA_OMNIGLOT_URL": f"https://127.0.0.1:{self.port}/python",
                       "CURL_CA_BUNDLE": os.path.join(self.folder, "ca.pem")} | more

    def start(self, *options, **more):
        # A shell's background job ignores SIGINT, and so would the program.
        return subprocess.Popen([PROGRAM, "data", "get", "omniglot", *options], env=self.environment(**more), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def get(self, *options, **more):
        p = self.start(*options, **more)
        out, messages = p.communicate(timeout=300)
        return p.returncode, out, messages

    def place(self, name=""):
        return os.path.join(self.folder, f"cache{self.count}", "metalora", "omniglot", name)

    def left(self):
        return sorted(os.listdir(self.place())) if os.path.isdir(self.place()) else []

    def arrived(self, outcome, what):
        """All bytes have come: the real ones are packed, noise is refused and removed."""
        code, out, messages = outcome
        for name in NAMES:
            digest = hashlib.sha256(self.habits.archives[name]).hexdigest()
            must(f"{name}: {len(self.habits.archives[name])} bytes, SHA-256 {digest}" in " ".join(messages.split("\n")),
                 f"{what}: {name} did not arrive: {messages}")
        if self.real:
            must(code == 0 and "1623 characters x 20 drawings verified" in out, f"{what}: {code} {out} {messages}")
            must(self.left() == NAMES, f"{what}: {self.left()}")
            verify = subprocess.run([PROGRAM, "data", "verify", "omniglot"], env=self.environment(), capture_output=True, text=True)
            must(verify.returncode == 0 and "are intact" in verify.stdout, f"{what}: {verify}")
        else:
            must(code == 2 and "is not Omniglot as published and was removed" in messages, f"{what}: {code} {messages}")
            must(self.left() == [], f"{what}: {self.left()} is left")
        print(f"  {what}: {len(self.habits.log)} requests")

    def refused(self, outcome, code, text, what):
        must(outcome[0] == code and text in outcome[2] and outcome[1] == "", f"{what}: {outcome}")
        must(self.left() == [], f"{what}: {self.left()} is left")
        print(f"  {what}: {outcome[2].strip().splitlines()[-1]}")


def wait_for_bytes(world, least):
    part = world.place(NAMES[0] + ".unverified.part")
    for _ in range(600):
        if os.path.exists(part) and os.path.getsize(part) >= least:
            return
        time.sleep(0.05)
    must(False, "no bytes came in 30 s")


def going_well(w):
    w.fresh()
    w.arrived(w.get(), "at once")
    must(w.habits.log == [(name, None) for name in NAMES], f"requests: {w.habits.log}")
    w.fresh(break_after=700_000)
    w.arrived(w.get(), "connections that break")
    asked = [first for name, first in w.habits.log if name == NAMES[0]]
    must(asked == [None] + list(range(700_000, len(w.habits.archives[NAMES[0]]), 700_000)), f"ranges: {asked}")
    w.fresh(redirect=f"https://localhost:{w.port}")
    w.arrived(w.get(), "redirected to another host")


def broken_off(w):
    for sign, code in [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)]:
        w.fresh(rate=1_000_000)
        p = w.start()
        wait_for_bytes(w, 200_000)
        p.send_signal(sign)
        messages = p.communicate(timeout=20)[1]
        must(p.returncode == code, f"{sign.name}: exit code {p.returncode}: {messages}")
        must(code < 0 or "the same command goes on from there" in messages, messages)
        had = os.path.getsize(w.place(NAMES[0] + ".unverified.part"))
        w.habits.rate, w.habits.log = 0, []
        w.arrived(w.get(), f"{sign.name} after {had} bytes")
        must(w.habits.log[0] == (NAMES[0], had), f"{sign.name}: {w.habits.log}, {had} bytes were there")
    w.fresh(break_after=500_000)
    w.habits.missing = False
    p = w.start()
    wait_for_bytes(w, 400_000)
    p.kill()
    p.communicate()
    w.habits.break_after, w.habits.ranges = 0, False
    w.arrived(w.get(), "ranges ignored")


def refusals(w):
    w.fresh()
    w.refused(w.get(CURL_CA_BUNDLE=""), 1, "certificate", "an unknown authority")
    w.refused(w.get(METALORA_OMNIGLOT_URL=f"https://127.0.0.2:{w.port}/python"), 1, "127.0.0.2", "another host's certificate")
    w.refused(w.get("--offline"), 2, "--offline was given", "offline")
    must(w.habits.log == [], f"requests in spite of all: {w.habits.log}")
    w.refused(w.get(METALORA_OMNIGLOT_URL=f"http://example.org:{w.port}"), 2, "not encrypted", "plain HTTP")
    w.fresh(missing=True)
    w.refused(w.get(), 1, "404", "not found")
    w.fresh(redirect=f"http://127.0.0.1:{w.port}")
    w.refused(w.get(), 1, "expected redirects to https only", "a redirect to plain HTTP")
    w.fresh()
    real, w.habits.archives = w.habits.archives, {name: b"<html>Sign in</html>" for name in NAMES}
    w.refused(w.get(), 2, "is not Omniglot as published and was removed", "wrong contents")
    w.habits.archives = real


def by_proxy(w):
    log = []
    address = f"http://127.0.0.1:{proxy(log)}"
    w.fresh()
    w.arrived(w.get(https_proxy=address), "by a proxy")
    must(log == ["127.0.0.1", "127.0.0.1"], f"the proxy saw {log}")
    w.fresh()
    w.arrived(w.get(https_proxy=address, no_proxy="127.0.0.1"), "past the proxy")
    must(len(log) == 2, f"the proxy saw {log}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        certificates(folder)
        world = World(folder)
        print("downloads of", "the real archives" if world.real else "noise (METALORA_DATA is not set)")
        for part in [going_well, broken_off, refusals, by_proxy]:
            part(world)


if __name__ == "__main__":
    main()
