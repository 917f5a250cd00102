"""What curl is answered: the refusals and the grants."""

import subprocess

from material import PASSWORD, with_one_bit_changed
from program import environment
from report import expect, expect_equal

# The key and the answer of RFC 6455 section 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

# The fields that ask for an upgrade.
UPGRADE = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
           "-H", f"Sec-WebSocket-Key: {KEY}"]

# How long one request may take. An upgrade that is granted lasts this long, unless it is cut off.
SECONDS = 10

BEARER = 'Bearer realm="staff", scope="ws"'
BASIC = 'Basic realm="staff", charset="UTF-8"'


class Answer:
    """One answer: its status, its fields in order, and its body if it is a refusal."""

    def __init__(self, head, body=b""):
        status, *lines = head
        self.status = int(status.split()[1])
        self.fields = [tuple(line.split(": ", 1)) for line in lines]
        self.body = body

    def all(self, name):
        """Every value of a field."""
        return [value for field, value in self.fields if field.lower() == name.lower()]


def upgrade(url, *options, version="13", http="--http1.1"):
    """Asks for an upgrade, and hangs up as soon as it is granted or the refusal is complete.

    The head is read from the trace on standard error: on standard output curl keeps the head of a 101 to
    itself until the time is over.
    """
    command = ["curl", "-v", "-s", "--max-time", str(SECONDS), http,
               "-H", "Connection: Upgrade", "-H", "Upgrade: websocket",
               "-H", f"Sec-WebSocket-Version: {version}", "-H", f"Sec-WebSocket-Key: {KEY}", *options, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as curl:
        head, trace = [], []
        for line in curl.stderr:
            trace.append(line.decode("latin-1"))
            if trace[-1] == "< \r\n":
                break
            if trace[-1].startswith("< "):
                head.append(trace[-1][2:].rstrip("\r\n"))
        else:
            raise RuntimeError(f"no answer: {''.join(trace[-2:])}")
        answer = Answer(head)
        if answer.status == 101:
            curl.kill()
        else:
            answer.body, _ = curl.communicate()
            expect_equal(curl.returncode, 0, "the exit code of curl")
    return answer


def granted(answer):
    """The one right answer to an upgrade that may pass."""
    expect_equal(answer.status, 101, "the status")
    expect_equal(answer.all("sec-websocket-accept"), [ACCEPT], "Sec-WebSocket-Accept")


def refused(answer, status, challenges):
    """A refusal with exactly these challenges, whose body is as long as it says."""
    expect_equal(answer.status, status, "the status")
    expect_equal(answer.all("www-authenticate"), challenges, "the challenges")
    expect_equal(answer.all("content-length"), [str(len(answer.body))], "Content-Length")


def checks(report, running, material):
    """Runs all of them against a program that serves the configuration of `material`."""
    port = running.port("edge")
    trust = ("--cacert", str(material.authority))

    def ask(path, *options, **more):
        return upgrade(f"https://localhost:{port}{path}", *trust, *options, **more)

    def bearer(token, path="/echo"):
        return ask(path, "--oauth2-bearer", token)

    def invalid(why=None):
        described = f', error_description="{why}"' if why else ""
        return [f'{BEARER}, error="invalid_token"{described}', BASIC]

    good = material.key.token()
    with report.check("curl: 401 with a line for each challenge without a credential"):
        answer = ask("/echo")
        refused(answer, 401, [BEARER, BASIC])
        expect_equal(answer.all("connection"), [], "Connection")
    with report.check("curl: 101 with a bcrypt password"):
        granted(ask("/echo", "-u", f"alice:{PASSWORD}"))
    with report.check("curl: 101 with a password hashed by the program itself"):
        granted(ask("/echo", "-u", f"bob:{PASSWORD}"))
    for who in ("alice", "mallory"):
        with report.check(f"curl: 401 with a wrong password of {who}"):
            refused(ask("/echo", "-u", f"{who}:wrong"), 401, [BEARER, BASIC])
    with report.check("curl: 101 with an ES256 token"):
        granted(bearer(good))
    with report.check("curl: 401 with one bit of the token changed"):
        refused(bearer(with_one_bit_changed(good)), 401, invalid())
    with report.check("curl: 401 with a token of yesterday"):
        refused(bearer(material.key.token(exp=1_000_000_000)), 401, invalid("token expired"))
    with report.check("curl: 401 with a token for somebody else"):
        refused(bearer(material.key.token(aud="others")), 401, invalid())
    with report.check("curl: 101 by the key of the set that the token names"):
        granted(bearer(material.second.token(kid="second"), "/keyset"))
    with report.check("curl: 401 by a key that is not in the set"):
        answer = bearer(material.key.token(kid="third"), "/keyset")
        refused(answer, 401, ['Bearer realm="keyset", error="invalid_token"'])
    with report.check("curl: 101 with the token in the query"):
        granted(ask(f"/echo?access_token={good}"))
    with report.check("curl: 400 with two tokens"):
        answer = ask(f"/echo?access_token={good}", "--oauth2-bearer", good)
        refused(answer, 400, ['Bearer realm="staff", error="invalid_request"'])
    with report.check("curl: 403 without the role, 101 with it"):
        refused(ask("/operators", "-u", f"alice:{PASSWORD}"), 403, [])
        granted(ask("/operators", "-u", f"bob:{PASSWORD}"))
    with report.check("curl: 421 for another host"):
        refused(ask("/echo", "-H", "Host: elsewhere.example"), 421, [])
    with report.check("curl: 403 from a page of another origin"):
        refused(ask("/echo", "-H", "Origin: https://elsewhere.example", "--oauth2-bearer", good), 403, [])
    with report.check("curl: 426 with the version that is spoken, for another version"):
        answer = ask("/echo", version="12")
        refused(answer, 426, [])
        expect_equal(answer.all("sec-websocket-version"), ["13"], "Sec-WebSocket-Version")
    with report.check("curl: 426 for HTTP/1.0, whose Upgrade is ignored"):
        # Without ALPN, where curl would offer nothing but http/1.0, and TLS would end there (RFC 7301).
        answer = ask("/echo", "--oauth2-bearer", good, "--no-alpn", http="--http1.0")
        refused(answer, 426, [])
        expect_equal(answer.all("upgrade"), ["websocket"], "Upgrade")
    with report.check("curl: no challenge in plain text on a TLS port"):
        try:
            status = upgrade(f"http://localhost:{port}/echo").status
        except RuntimeError:
            status = None
        expect(status in (None, 400, 403), f"the status is {status}")
    with report.check("curl: --anyauth is challenged and passes on one connection"):
        retries_on_one_connection(f"https://localhost:{port}/echo", trust)
    for path, options in (("/phones", ("--digest",)), ("/old-phones", ("--digest",)), ("/phones", ())):
        with report.check(f"curl: {'--digest' if options else '--anyauth'} passes {path} on one connection"):
            before = running.decisions()
            retries_on_one_connection(f"https://localhost:{port}{path}", trust, *options)
            asked = running.decides(before, status=401, reason="no_credential", path=path)
            passed = running.decides(before, status=101, scheme="Digest", path=path)
            expect_equal(passed["peer"], asked["peer"], "the port that it asks from")
    with report.check("curl: 401 with a wrong password by Digest"):
        command = ["curl", "-s", "--http1.1", *trust, "--digest", "-u", "alice:wrong", *UPGRADE,
                   "-w", "%{http_code}", f"https://localhost:{port}/phones"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment())
        expect_equal(done.stdout, "unauthorized\n401", "the body and the status")


def retries_on_one_connection(url, trust, method="--anyauth"):
    """curl asks without a credential, reads the challenges and answers the one it prefers of those it may."""
    command = ["curl", "-s", "-o", "/dev/null", "--http1.1", "--max-time", "1", *trust,
               *UPGRADE, method, "-u", f"alice:{PASSWORD}",
               "-w", "%{http_code} %{num_connects}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment())
    # An upgrade's answer has no end for curl: it gives up after a second, with the status in its hands.
    expect_equal((done.stdout, done.returncode), ("101 1", 28), "the status and the number of connections")
