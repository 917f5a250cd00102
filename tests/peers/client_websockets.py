"""The Python library `websockets` as a client. Reads the addresses and credentials that run.py writes to
standard input, prints `ok NAME` or `FAILED NAME: why` for each check.

Its asyncio side, because its threads share one TLS session, which OpenSSL does not allow: one handshake in a
hundred then waits for ever, whatever the server.
"""

import asyncio
import json
import ssl
import sys
import time
import traceback

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

SECONDS = 10


async def main():
    """Runs every check; the one whose token has seconds to live comes first."""
    given = json.load(sys.stdin)
    for check in (expiry, refused, text, binary, large, fragments, ping, close, subprotocol):
        name = f"websockets: {check.__doc__}"
        try:
            await check(given)
        except Exception as error:
            print(f"FAILED {name}: {error!r} {traceback.extract_tb(error.__traceback__)[-1].line}", flush=True)
        else:
            print(f"ok {name}", flush=True)


def opened(given, credential="bearer", **more):
    """An open connection; `credential` names one of the two `Authorization` values, or none."""
    fields = {"Authorization": given[credential]} if credential else {}
    context = ssl.create_default_context(cafile=given["authority"])
    return connect(given["url"], ssl=context, additional_headers=fields, open_timeout=SECONDS,
                   close_timeout=SECONDS, max_size=None, proxy=None, **more)


async def received(socket):
    """The next message."""
    return await asyncio.wait_for(socket.recv(), SECONDS)


async def refused(given):
    """401 with both challenges without a credential"""
    try:
        await opened(given, credential=None)
    except InvalidStatus as refusal:
        response = refusal.response
        assert response.status_code == 401, response.status_code
        schemes = [line.split()[0] for line in response.headers.get_all("WWW-Authenticate")]
        assert schemes == ["Bearer", "Basic"], schemes
    else:
        raise AssertionError("it was let in")


async def text(given):
    """text comes back, with a token and with a password"""
    for credential in ("bearer", "basic"):
        async with opened(given, credential) as socket:
            for message in ("", "hello", "Grüße, 世界 \N{LOCK}"):
                await socket.send(message)
                assert await received(socket) == message


async def binary(given):
    """binary comes back"""
    async with opened(given) as socket:
        for message in (b"", bytes(range(256)), b"x" * 65_536):
            await socket.send(message)
            assert await received(socket) == message


async def large(given):
    """4 MiB come back"""
    async with opened(given) as socket:
        message = b"countersign." * (4 * 2**20 // 12)
        await socket.send(message)
        assert await received(socket) == message


async def fragments(given):
    """fragments come back as one message"""
    async with opened(given) as socket:
        await socket.send(["one, ", "two, ", "", "three"])
        assert await received(socket) == "one, two, three"


async def ping(given):
    """a ping is answered"""
    async with opened(given) as socket:
        await asyncio.wait_for(await socket.ping(b"are you there"), SECONDS)


async def close(given):
    """a close code comes back"""
    socket = await opened(given)
    await socket.close(4001, "that was all")
    assert (socket.close_code, socket.close_reason) == (4001, "that was all"), socket.close_code


async def subprotocol(given):
    """the token as a subprotocol, and the real one selected"""
    token = given["bearer"].split()[1]
    async with opened(given, None, subprotocols=["access_token", token, "chat"]) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        await socket.send("hello")
        assert await received(socket) == "hello"


async def expiry(given):
    """3000 at the end of the token's life, not before"""
    async with opened(given, "brief") as socket:
        try:
            message = await received(socket)
        except ConnectionClosed as end:
            late = time.time() - given["brief_until"]
            assert (end.rcvd.code, end.rcvd.reason) == (3000, "token expired"), end
            assert 0 <= late < 1.5, late
        else:
            raise AssertionError(f"a message: {message!r}")


if __name__ == "__main__":
    asyncio.run(main())
