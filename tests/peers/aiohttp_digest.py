"""aiohttp, which answers a Digest challenge by itself if it is the first one."""

import asyncio
import ssl

from material import PASSWORD
from report import Missing, expect, expect_equal

SECONDS = 10


def checks(report, running, material):
    """A right and a wrong password, against SHA-256 with another scheme behind it and against MD5 alone."""
    for path in ("/digest-first", "/old-phones"):
        with report.check(f"aiohttp: Digest passes {path} on one connection"):
            before = running.decisions()
            connections, outcome = asked(running, material, path, PASSWORD)
            expect_equal(outcome, "hello", "the echo")
            expect_equal(connections, 1, "the number of connections")
            refusal = running.decides(before, status=401, reason="no_credential", path=path)
            grant = running.decides(before, status=101, scheme="Digest", subject="alice", path=path)
            expect_equal(grant["peer"], refusal["peer"], "the port that it asks from")
    with report.check("aiohttp: a wrong password by Digest is 401"):
        before = running.decisions()
        _, outcome = asked(running, material, "/digest-first", "wrong")
        expect_equal(outcome, 401, "the status")
        running.decides(before, status=401, reason="bad_password")


def asked(running, material, path, password):
    """How many connections it took, and the echo or the status of a refusal."""
    try:
        import aiohttp
    except ImportError:
        raise Missing("tests/peers/install") from None

    async def ask():
        connections = []

        async def connected(*_):
            connections.append(1)

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(connected)
        digest = aiohttp.DigestAuthMiddleware("alice", password)
        trust = ssl.create_default_context(cafile=str(material.authority))
        url = f"wss://localhost:{running.port('edge')}{path}"
        async with aiohttp.ClientSession(middlewares=[digest], trace_configs=[trace], trust_env=False) as session:
            try:
                async with session.ws_connect(url, ssl=trust) as socket:
                    await socket.send_str("hello")
                    return len(connections), await socket.receive_str()
            except aiohttp.WSServerHandshakeError as refusal:
                return len(connections), refusal.status

    connections, outcome = asyncio.run(asyncio.wait_for(ask(), SECONDS))
    expect(connections, "it did not connect")
    return connections, outcome
