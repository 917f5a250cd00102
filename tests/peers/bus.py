"""A real Redis, and both programs as two nodes that share it: over TLS, as an ACL user that may do what is documented."""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

import bus_members
from ldap import free_ports, listens
from material import BCRYPT, PASSWORD
from program import Program, environment
from report import Missing, expect, expect_equal

ROOT = pathlib.Path(__file__).resolve().parents[2]
REDIS_PASSWORD = "a password of Redis"
TOKEN = "an-administrators-token"
PATIENCE = 10
OTHER = {"countersign-smol": "countersign-std", "countersign-std": "countersign-smol"}


class Redis:
    """redis-server with a plain port to look into it, and a TLS port for the nodes."""

    def __init__(self, folder, certificate):
        if not shutil.which("redis-server"):
            raise Missing("apt-get install redis-server")
        folder.mkdir()
        self.plain, self.secure = free_ports(2)
        # The rights that docs/cluster.md lists are enough.
        page = (ROOT / "docs/cluster.md").read_text()
        user = re.search(r"user edge on >PASSWORD (.*)", page)[1]
        acl = folder / "users.acl"
        hashed = hashlib.sha256(REDIS_PASSWORD.encode()).hexdigest()
        acl.write_text(f"user default on nopass ~* &* +@all\nuser edge on #{hashed} {user}\n")
        self.command = ["redis-server", "--port", self.plain, "--tls-port", self.secure, "--bind", "127.0.0.1",
                        "--tls-cert-file", certificate, "--tls-key-file", f"{certificate}.key",
                        "--tls-auth-clients", "no", "--save", "", "--appendonly", "no", "--dir", folder,
                        "--aclfile", acl, "--daemonize", "no"]
        self.process = None
        self.start()

    def start(self):
        """Starts it, empty, and waits until it listens."""
        self.process = subprocess.Popen([str(word) for word in self.command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        until = time.monotonic() + PATIENCE
        while not (listens(self.plain) and listens(self.secure)):
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError("redis-server does not listen")
            time.sleep(0.05)

    def kill(self):
        """Ends it without a word to anybody."""
        self.process.kill()
        self.process.wait()

    def seen(self):
        """Everything that it holds, as it dumps it."""
        ask = lambda *words: subprocess.run(["redis-cli", "-p", str(self.plain), *words], capture_output=True,
                                            check=True, timeout=PATIENCE).stdout
        keys = ask("--scan").split()
        expect(keys and all(key.startswith(b"countersign:") for key in keys), f"keys are {keys}")
        return b"".join(key + ask("DUMP", key.decode()) for key in keys)


class Node:
    """One program, asked over plain HTTP."""

    def __init__(self, path, config):
        self.running = Program(path, "--config", config, listeners=2)

    def ask(self, method, target, fields, server="loopback", body=None):
        """One request; returns the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.running.port(server), timeout=PATIENCE)
        connection.request(method, target, body=body, headers=fields)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def revoke(self, subject):
        """Revokes somebody."""
        order = json.dumps({"subject": subject})
        status, _ = self.ask("POST", "/revoke", {"Authorization": f"Bearer {TOKEN}"}, "admin", order)
        expect_equal(status, 204, "the answer to a revocation")

    def ticket(self, user):
        """Asks for a ticket; returns the status and the ticket."""
        status, body = self.ask("POST", "/ticket", basic(user))
        return status, json.loads(body)["ticket"] if status == 200 else None

    def open(self, target, fields=None):
        """Opens a socket; returns the status and the stream."""
        stream = socket.create_connection(("127.0.0.1", self.running.port("loopback")), timeout=PATIENCE)
        lines = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                 "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()} | (fields or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        stream.sendall(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = stream.recv(1)
            expect(piece, f"the stream ended behind {answer}")
            answer += piece
        return int(answer.split()[1]), stream

    def bus(self, count, state):
        """Waits for the `count`-th line about the bus, which has to say `state`."""
        until = time.monotonic() + PATIENCE
        while len(self.running.events("bus")) < count and time.monotonic() < until:
            time.sleep(0.02)
        states = [event["state"] for event in self.running.events("bus")]
        expect(len(states) >= count and states[count - 1] == state, f"the states are {states}")


def basic(user):
    """The field of a login."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()}


def echoes(stream):
    """Whether a short text comes back."""
    stream.sendall(b"\x81\x82\0\0\0\0hi")
    expect_equal(stream.recv(4), b"\x81\x02hi", "the echo")


def closed(stream):
    """Whether the next frame is Close 3003 revoked."""
    frame = stream.recv(128)
    expect_equal(frame[2:], (3003).to_bytes(2, "big") + b"revoked", "what the Close frame says")


def configuration(redis, authority):
    """Echo, broadcast and a data point behind passwords, tickets, and the bus."""
    return {
        "servers": [{"id": "loopback", "listen": ["127.0.0.1:0"], "plaintext": True}],
        "realms": {"r": {"tickets": {}, "challenges": ["Basic"], "loginModules": [
            {"type": "users", "success": "required", "passwords": "bus.htpasswd"}]}},
        "services": {
            "echo": {"type": "echo", "accept": "/echo", "realm": "r", "origins": []},
            "chat": {"type": "broadcast", "accept": "/chat", "realm": "r", "origins": []},
            "points": {"type": "points", "endpoints": {"/point": "p"}, "realm": "r", "origins": [],
                       "acl": {"entries": [{"role": "Everyone", "allow": ["websocket.connect", "read", "write"]}]}},
        },
        "admin": {"listen": ["127.0.0.1:0"], "tokenFile": "admin.token"},
        "bus": {"redis": f"rediss://localhost:{redis.secure}", "user": "edge", "passwordFile": "redis.password",
                "secretFile": "bus.secret", "caFile": str(authority)},
        "throttle": {"failures": 1000},
    }


def checks(report, path, material):
    """Starts Redis and two nodes, one of each program if both are there."""
    redis, nodes = None, []
    with report.check("bus: redis-server starts"):
        redis = Redis(material.folder / "redis", material.folder / "leaf.pem")
    if redis is None:
        return
    try:
        config = material.folder / "bus.json"
        for name, text in {"bus.htpasswd": "".join(f"{user}:{BCRYPT}\n" for user in ("alice", "bob", "carol")),
                           "admin.token": TOKEN, "redis.password": REDIS_PASSWORD + "\n",
                           "bus.secret": os.urandom(32).hex() + "\n",
                           "bus.json": json.dumps(configuration(redis, material.authority))}.items():
            (material.folder / name).write_text(text)
        other = path.with_name(OTHER.get(path.name, path.name))
        with report.check("bus: two programs connect over TLS as an ACL user with the documented rights"):
            for program in (path, other if other.exists() else path):
                nodes.append(Node(program, config))
            for node in nodes:
                node.bus(1, "up")
        if len(nodes) == 2:
            bus_members.checks(report, nodes, basic("carol"))
            shared(report, redis, *nodes)
            bus_members.under_load(report, redis, nodes, basic("carol"), 3)
            with report.check("bus: SIGTERM ends both, and no secret is in a log"):
                for node in nodes:
                    node.running.tell_to_end()
                    expect_equal(node.running.end(), 0, "the exit code")
                    told = [line for line in node.running.log if PASSWORD in line or REDIS_PASSWORD in line]
                    expect(not told and not node.running.events("panicked"), "one is there, or a panic")
    finally:
        for node in nodes:
            node.running.kill()
        redis.kill()


def shared(report, redis, one, two):
    """What nodes share, with Redis and without."""
    streams = {}
    with report.check("bus: a ticket of one node opens one socket on the other"):
        _, ticket = one.ticket("alice")
        status, streams["ticket"] = two.open(f"/echo?ticket={ticket}")
        expect_equal(status, 101, "the first use")
        expect_equal(two.open(f"/echo?ticket={ticket}")[0], 401, "the second use")
        expect_equal(one.open(f"/echo?ticket={ticket}")[0], 401, "the third use")
    with report.check("bus: a revocation posted to one closes sockets on both"):
        streams["alice"] = one.open("/echo", basic("alice"))[1]
        one.revoke("alice")
        closed(streams["alice"])
        closed(streams["ticket"])
        for node in (one, two):
            expect_equal(node.open("/echo", basic("alice"))[0], 401, "a handshake afterwards")
    with report.check("bus: Redis sees nothing"):
        seen = redis.seen()
        expect(not any(word in seen for word in (b"alice", b"revoked", ticket.encode())), "it does")
    with report.check("bus: without Redis the nodes go on, but for tickets"):
        for node in (one, two):
            streams[node] = node.open("/echo", basic("bob"))[1]
        redis.kill()
        for node in (one, two):
            node.bus(2, "down")
            echoes(streams[node])
            status, again = node.open("/echo", basic("carol"))
            expect_equal(status, 101, "a login")
            echoes(again)
            expect_equal(node.ticket("bob")[0], 503, "an order for a ticket")
    with report.check("bus: a Redis that comes back empty is told everything, and what was revoked meanwhile ends"):
        two.revoke("bob")
        redis.start()
        for node in (one, two):
            node.bus(3, "up")
            closed(streams[node])
        for user in ("alice", "bob"):
            expect_equal(one.open("/echo", basic(user))[0], 401, f"a handshake of {user}")
        expect_equal(one.ticket("carol")[0], 200, "an order for a ticket")
