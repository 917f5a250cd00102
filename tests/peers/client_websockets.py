"""The Python library `websockets` as a client. Reads the addresses and credentials that run.py writes to
standard input, prints `ok NAME` or `FAILED NAME: why` for each check."""

import json
import ssl
import sys
import time
import traceback

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

SECONDS = 10


def main():
    """Runs every check; the one whose token has seconds to live comes first."""
    given = json.load(sys.stdin)
    for check in (expiry, refused, text, binary, large, fragments, ping, close, subprotocol):
        name = f"websockets: {check.__doc__}"
        try:
            check(given)
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


def refused(given):
    """401 with both challenges without a credential"""
    try:
        opened(given, credential=None).close()
    except InvalidStatus as refusal:
        response = refusal.response
        assert response.status_code == 401, response.status_code
        schemes = [line.split()[0] for line in response.headers.get_all("WWW-Authenticate")]
        assert schemes == ["Bearer", "Basic"], schemes
    else:
        raise AssertionError("it was let in")


def text(given):
    """text comes back, with a token and with a password"""
    for credential in ("bearer", "basic"):
        with opened(given, credential) as socket:
            for message in ("", "hello", "Grüße, 世界 \N{LOCK}"):
                socket.send(message)
                assert socket.recv(SECONDS) == message


def binary(given):
    """binary comes back"""
    with opened(given) as socket:
        for message in (b"", bytes(range(256)), b"x" * 65_536):
            socket.send(message)
            assert socket.recv(SECONDS) == message


def large(given):
    """4 MiB come back"""
    with opened(given) as socket:
        message = b"countersign." * (4 * 2**20 // 12)
        socket.send(message)
        assert socket.recv(SECONDS) == message


def fragments(given):
    """fragments come back as one message"""
    with opened(given) as socket:
        socket.send(["one, ", "two, ", "", "three"])
        assert socket.recv(SECONDS) == "one, two, three"


def ping(given):
    """a ping is answered"""
    with opened(given) as socket:
        assert socket.ping(b"are you there").wait(SECONDS)


def close(given):
    """a close code comes back"""
    socket = opened(given)
    socket.close(4001, "that was all")
    assert (socket.close_code, socket.close_reason) == (4001, "that was all"), socket.protocol.close_exc


def subprotocol(given):
    """the token as a subprotocol, and the real one selected"""
    token = given["bearer"].split()[1]
    with opened(given, None, subprotocols=["access_token", token, "chat"]) as socket:
        assert socket.subprotocol == "chat", socket.subprotocol
        socket.send("hello")
        assert socket.recv(SECONDS) == "hello"


def expiry(given):
    """3000 at the end of the token's life, not before"""
    with opened(given, "brief") as socket:
        try:
            message = socket.recv(SECONDS)
        except ConnectionClosed as end:
            late = time.time() - given["brief_until"]
            assert (end.rcvd.code, end.rcvd.reason) == (3000, "token expired"), end
            assert 0 <= late < 1.5, late
        else:
            raise AssertionError(f"a message: {message!r}")


if __name__ == "__main__":
    main()
