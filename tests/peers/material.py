"""What the programs are configured with: a certificate, keys, tokens and user files, all made on the spot."""

import base64
import hashlib
import json
import pathlib
import random
import subprocess
import time

PASSWORD = "correct horse battery"
# The password's bcrypt hash at cost 4, the least: what is tested here is the login, not the hash.
BCRYPT = "$2y$04$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS"

ISSUER = "https://issuer.example"
AUDIENCE = "peers"
# The text of the challenge that phones answer: it is a part of what is stored for each user.
PHONES = "phones"

# A page without a word of its own, from which scripts open sockets.
BLANK = "/healthz"
# Names that a browser is told to find here: the first two are one site, so that a cookie of the one goes along with
# what a page of the other sends to it.
HOME, NEIGHBOUR, STRANGER = "edge.countersign.test", "other.countersign.test", "stranger.test"
# The port of the latter two has to be known before they listen, because `origins` names it.
ELSEWHERE_PORT = 8443

# More wrong credentials than all checks together bring.
FAILURES = 1_000

# Autobahn's largest message is 16 MiB, and its cases are one connection each.
MESSAGE_BYTES = 32 << 20


def openssl(*arguments, stdin=b""):
    """Runs openssl and returns what it writes to standard output."""
    return subprocess.run(
        ["openssl", *arguments], input=stdin, capture_output=True, check=True, timeout=30
    ).stdout


def base64url(data):
    """Encodes as RFC 7515 section 2 wants it: URL-safe and without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A P-256 key that signs tokens with ES256."""

    def __init__(self, folder, name):
        self.name = name
        self.issued = []
        self.private = folder / f"{name}.private.pem"
        self.public = folder / f"{name}.pem"
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(self.private))
        openssl("ec", "-in", str(self.private), "-pubout", "-out", str(self.public))

    def jwk(self):
        """The public key as a JSON Web Key; an uncompressed point is the end of its DER."""
        der = openssl("ec", "-in", str(self.private), "-pubout", "-outform", "DER")
        x, y = der[-64:-32], der[-32:]
        return {"kty": "EC", "crv": "P-256", "kid": self.name, "use": "sig", "alg": "ES256",
                "x": base64url(x), "y": base64url(y)}

    def token(self, kid=None, **claims):
        """A token good for an hour, unless `claims` say otherwise."""
        now = int(time.time())
        header = {"alg": "ES256", "typ": "JWT"} | ({"kid": kid} if kid else {})
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 3600} | claims
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        der = openssl("dgst", "-sha256", "-sign", str(self.private), stdin=signed.encode())
        self.issued.append(f"{signed}.{base64url(fixed_length(der))}")
        return self.issued[-1]


def fixed_length(der):
    """ECDSA's two numbers as RFC 7518 section 3.4 wants them: 32 bytes each, not ASN.1."""
    numbers, rest = b"", der[2:]
    for _ in range(2):
        length = rest[1]
        numbers += rest[2 : 2 + length].lstrip(b"\0").rjust(32, b"\0")
        rest = rest[2 + length :]
    return numbers


def with_one_bit_changed(token):
    """The token with one bit of its signature's first byte turned over."""
    signed, signature = token.rsplit(".", 1)
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[0] ^= 1
    return f"{signed}.{base64url(bytes(raw))}"


def digest_lines(user):
    """What `htdigest` would write about the user, with both hashes of RFC 7616 that are offered."""
    secret = f"{user}:{PHONES}:{PASSWORD}".encode()
    return [f"{user}:{PHONES}:{hash(secret).hexdigest()}\n" for hash in (hashlib.sha256, hashlib.md5)]


class Material:
    """A folder with a configuration and everything that it names."""

    def __init__(self, folder, program, upstreams):
        self.folder = pathlib.Path(folder)
        self.authority = self.folder / "ca.pem"
        # Another authority, which vouches for nobody here.
        self.stranger = self.folder / "stranger.pem"
        self.config = self.folder / "edge.json"
        # Loopback has 16 million addresses: nobody else is likely to be at this one.
        self.elsewhere = f"127.{random.randint(64, 127)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        self._certificate()
        self.key = Key(self.folder, "issuer")
        self.first, self.second = Key(self.folder, "first"), Key(self.folder, "second")
        self._write("jwks.json", json.dumps({"keys": [self.first.jwk(), self.second.jwk()]}))
        argon2 = subprocess.run(
            [program, "hash"], input=PASSWORD + "\n", capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()
        self._write("users.htpasswd", f"alice:{BCRYPT}\nbob:{argon2}\n")
        self._write("users.htgroup", "operators: bob\nstaff: alice @operators\n")
        self._write("users.htdigest", "".join(digest_lines("alice")))
        self._write("edge.json", json.dumps(configuration(self.elsewhere, upstreams), indent=2))

    def tokens(self):
        """Every token that was made so far."""
        return [token for key in (self.key, self.first, self.second) for token in key.issued]

    def _write(self, name, text):
        (self.folder / name).write_text(text)

    def _certificate(self):
        """A certificate with the life and the names that Mozilla's guideline asks for, and its authority."""
        self._certify(self.authority, "/CN=countersign peers",
                      ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"])
        self._certify(self.stranger, "/CN=a stranger", ["basicConstraints=critical,CA:TRUE"])
        leaf = self.folder / "leaf.pem"
        self._certify(leaf, "/CN=localhost",
                      ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature",
                       "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"],
                      "-CA", str(self.authority), "-CAkey", f"{self.authority}.key")
        self._write("server.pem", leaf.read_text() + pathlib.Path(f"{leaf}.key").read_text())

    def _certify(self, path, subject, extensions, *more):
        """A new P-256 key and its certificate, good for 90 days."""
        added = [word for extension in extensions for word in ("-addext", extension)]
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-sha256", "-days", "90", "-subj", subject, *added,
                "-keyout", f"{path}.key", "-out", str(path), *more)


def configuration(elsewhere, upstreams):
    """One server with TLS for everybody, one in plain text for Autobahn's cases, which know no TLS, one whose pages
    are of another origin, and one behind a balancer. `upstreams` are the ports of servers behind the proxy, by name."""
    jwt = {"type": "jwt", "success": "sufficient", "issuer": ISSUER, "audience": AUDIENCE, "leeway": "0s"}
    users = {"type": "users", "success": "sufficient",
             "passwords": "users.htpasswd", "groups": "users.htgroup"}
    digests = {"type": "users", "success": "sufficient", "digests": "users.htdigest"}
    by_key = jwt | {"verification": {"publicKey": {"ES256": {"keyFile": "issuer.pem"}}}}
    by_set = jwt | {"verification": {"jwks": {"keyFile": "jwks.json"}}}
    carriers = ["authorization", "query:access_token", "subprotocol:access_token"]
    return {
        "servers": [
            {"id": "edge", "listen": ["127.0.0.1:0"], "serverCertificate": "server.pem", "health": BLANK,
             "hosts": ["localhost", "127.0.0.1", HOME]},
            {"id": "loopback", "listen": ["127.0.0.1:0"], "plaintext": True,
             "services": ["echo", *upstreams]},
            {"id": "elsewhere", "listen": [f"{elsewhere}:{ELSEWHERE_PORT}"], "serverCertificate": "server.pem",
             "health": BLANK, "hosts": [NEIGHBOUR, STRANGER], "services": ["keyset"]},
            {"id": "behind", "listen": ["127.0.0.1:0"], "serverCertificate": "server.pem", "services": ["echo"],
             "proxyProtocol": ["127.0.0.1/32"]},
        ],
        "realms": {
            "staff": {"scope": ["ws"], "challenges": ["Bearer", "Basic"], "carriers": carriers,
                      "loginModules": [users, by_key]},
            "browsers": {"form": {}, "tickets": {}, "carriers": ["cookie:__Host-session", *carriers],
                         "loginModules": [users, by_key]},
            "keyset": {"loginModules": [by_set]},
            "phones": {"description": PHONES, "challenges": ["Bearer", "Digest", "Basic"],
                       "digest": {"algorithms": ["SHA-256", "MD5"]}, "loginModules": [digests, users, by_key]},
            "digest-first": {"description": PHONES, "challenges": ["Digest", "Bearer"], "loginModules": [digests, by_key]},
            "old-phones": {"description": PHONES, "digest": {"algorithms": ["MD5"]}, "loginModules": [digests]},
        },
        "services": {
            "echo": {"type": "echo", "accept": "/echo", "realm": "staff", "origins": [],
                     "subprotocols": ["chat"]},
            "operators": {"type": "echo", "accept": "/operators", "realm": "staff", "origins": [],
                          "requireRoles": ["operators"]},
            "browsers": {"type": "echo", "accept": "/browsers", "realm": "browsers", "origins": []},
            "family": {"type": "echo", "accept": "/family", "realm": "browsers",
                       "origins": [f"https://{NEIGHBOUR}:{ELSEWHERE_PORT}"]},
            "phones": {"type": "echo", "accept": "/phones", "realm": "phones", "origins": []},
            "digest-first": {"type": "echo", "accept": "/digest-first", "realm": "digest-first", "origins": []},
            "old-phones": {"type": "echo", "accept": "/old-phones", "realm": "old-phones", "origins": []},
            "keyset": {"type": "echo", "accept": "/keyset", "realm": "keyset"},
        } | {
            name: {"type": "proxy", "accept": f"/behind/{name}", "realm": "staff", "origins": [],
                   "connect": f"ws://127.0.0.1:{port}/", "forward": {"subject": "X-Auth-Subject"}}
            for name, port in upstreams.items()
        },
        "limits": {"messageBytes": MESSAGE_BYTES},
        # All peers are at one address, and some have to fail.
        "throttle": {"failures": FAILURES},
    }
