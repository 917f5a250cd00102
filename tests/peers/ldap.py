"""A real directory, OpenLDAP's slapd: logins with groups, TLS in both ways, and what its absence does."""

import contextlib
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from curl import granted, refused, upgrade
from material import PASSWORD
from program import Program, environment
from report import Missing, expect, expect_equal

SUFFIX = "dc=example,dc=test"
ADMIN = f"cn=admin,{SUFFIX}"
SERVICE = f"cn=service,{SUFFIX}"
SERVICE_PASSWORD = "a password of its own"
# A name that has to be escaped in a filter, and in another way as a distinguished name.
DOE = rf"cn=Doe\, John (x),ou=people,{SUFFIX}"
OPERATORS = f"cn=operators,ou=groups,{SUFFIX}"

BASIC = 'Basic realm="{}", charset="UTF-8"'
# What the programs wait for slapd, and how much longer an answer may take than that.
TIMEOUT = 2
MARGIN = 1.5
# How long slapd may take to listen, and a program to notice that it is back.
PATIENCE = 10

SLAPD = f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {{folder}}/slapd.pid
TLSCertificateFile {{certificate}}
TLSCertificateKeyFile {{certificate}}.key
database mdb
directory {{folder}}/data
maxsize 16777216
suffix {SUFFIX}
rootdn {ADMIN}
rootpw "{SERVICE_PASSWORD}"
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=groups,{SUFFIX}" by users read by * none
access to * by * read
"""

PEOPLE = {"alice": f"uid=alice,ou=people,{SUFFIX}", "bob": f"uid=bob,ou=people,{SUFFIX}", "doe": DOE,
          "left": f"uid=left,ou=people,{SUFFIX}", "right": f"uid=right,ou=people,{SUFFIX}"}


def entries():
    """The whole tree. Two people share a mail address; bob is in no group."""
    yield f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: Example\n"
    for unit in ("people", "groups"):
        yield f"dn: ou={unit},{SUFFIX}\nobjectClass: organizationalUnit\nou: {unit}\n"
    yield (f"dn: {SERVICE}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
           f"cn: service\nuserPassword: {SERVICE_PASSWORD}\n")
    for uid, dn in PEOPLE.items():
        name = "Doe, John (x)" if uid == "doe" else uid
        yield (f"dn: {dn}\nobjectClass: inetOrgPerson\ncn: {name}\nsn: {uid}\nuid: {uid}\n"
               f"mail: {'both' if uid in ('left', 'right') else uid}@example.test\nuserPassword: {PASSWORD}\n")
    yield f"dn: {OPERATORS}\nobjectClass: groupOfNames\ncn: operators\nmember: {PEOPLE['alice']}\nmember: {DOE}\n"


class Directory:
    """slapd on two ports of this machine, in a folder of its own."""

    def __init__(self, folder, certificate):
        self.program = shutil.which("slapd") or "/usr/sbin/slapd"
        if not pathlib.Path(self.program).exists() or not shutil.which("ldapmodify"):
            raise Missing("apt-get install slapd ldap-utils")
        self.folder = pathlib.Path(folder)
        self.plain, self.secure = free_ports(2)
        self.config = self.folder / "slapd.conf"
        self.log = self.folder / "slapd.log"
        (self.folder / "data").mkdir(parents=True)
        self.config.write_text(SLAPD.format(folder=self.folder, certificate=certificate))
        self._run(self.program, "-T", "add", "-f", self.config, stdin="\n".join(entries()))
        self.process = None
        self.start()

    def start(self):
        """Starts slapd, and waits until it listens. It logs every connection."""
        urls = f"ldap://127.0.0.1:{self.plain} ldaps://127.0.0.1:{self.secure}"
        with self.log.open("a") as log:
            self.process = subprocess.Popen([self.program, "-d", "stats", "-h", urls, "-f", str(self.config)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
        until = time.monotonic() + PATIENCE
        for port in (self.plain, self.secure):
            while not listens(port):
                if time.monotonic() > until or self.process.poll() is not None:
                    raise RuntimeError(f"slapd does not listen: {self.log.read_text()[-500:]}")
                time.sleep(0.05)

    def kill(self):
        """Ends slapd without a word to anybody."""
        self.process.kill()
        self.process.wait()

    def connections(self):
        """How many connections it has accepted."""
        return self.log.read_text().count(" ACCEPT from ")

    @contextlib.contextmanager
    def paused(self):
        """Meanwhile it accepts connections, as the operating system does for it, and stays silent."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def change(self, verb, dn):
        """Adds someone to the operators, or deletes them."""
        change = f"dn: {OPERATORS}\nchangetype: modify\n{verb}: member\nmember: {dn}\n"
        self._run("ldapmodify", "-x", "-H", f"ldap://127.0.0.1:{self.plain}", "-D", ADMIN,
                  "-w", SERVICE_PASSWORD, stdin=change)

    @staticmethod
    def _run(*command, stdin):
        done = subprocess.run([str(word) for word in command], input=stdin, text=True, capture_output=True,
                              timeout=PATIENCE, env=environment())
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]}")


def free_ports(count):
    """Ports that nobody listens at now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def listens(port):
    """Whether somebody accepts connections at `port`."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def configuration(directory, authority, stranger):
    """One realm for each way to reach the directory, each with a service for operators."""
    common = {"type": "ldap", "success": "required", "timeout": f"{TIMEOUT} seconds",
              "groupBase": f"ou=groups,{SUFFIX}", "groupFilter": "(member={DN})", "groupAttribute": "cn"}
    account = {"bindDn": SERVICE, "bindPasswordFile": "service.txt"}
    base = f"ou=people,{SUFFIX}"
    plain = {"url": f"ldap://127.0.0.1:{directory.plain}/{base}"}
    secure = {"url": f"ldaps://127.0.0.1:{directory.secure}/{base}", "caFile": str(authority)}
    modules = {
        "ldaps": secure | account,
        "start-tls": plain | account | {"startTls": True, "caFile": str(authority)},
        "anonymous": plain,
        "mail": plain | account | {"userFilter": "(|(uid={USERNAME})(mail={USERNAME}))"},
        "stranger": secure | account | {"caFile": str(stranger)},
        "start-tls-stranger": plain | account | {"startTls": True, "caFile": str(stranger)},
    }
    return {
        "roles": ["operators"],
        "servers": [{"id": "loopback", "listen": ["127.0.0.1:0"], "plaintext": True}],
        "realms": {name: {"loginModules": [common | module]} for name, module in modules.items()},
        "services": {name: {"type": "echo", "accept": f"/{name}", "realm": name, "origins": [],
                            "requireRoles": ["operators"]} for name in modules},
        # Every check comes from the same address.
        "throttle": {"failures": 1000},
    }


def checks(report, path, material):
    """Starts slapd and one program that asks it."""
    directory = None
    with report.check("ldap: slapd starts"):
        directory = Directory(material.folder / "slapd", material.folder / "leaf.pem")
    if directory is None:
        return
    running = None
    try:
        with report.check("ldap: a configuration with six directories loads"):
            config = material.folder / "ldap.json"
            (material.folder / "service.txt").write_text(SERVICE_PASSWORD + "\n")
            found = configuration(directory, material.authority, material.stranger)
            config.write_text(json.dumps(found, indent=2))
            running = Program(path, "--config", config, listeners=1)
        if running is not None:
            logins(report, directory, running)
            absences(report, directory, running)
            with report.check("ldap: no password is in the log"):
                running.tell_to_end()
                expect_equal(running.end(), 0, "the exit code")
                told = [line for line in running.log if PASSWORD in line or SERVICE_PASSWORD in line]
                expect(running.log and not told, "one is there")
    finally:
        if running is not None:
            running.kill()
        directory.kill()


def asker(running):
    """How to ask the running program for an upgrade with a user and a password."""
    port = running.port("loopback")

    def ask(realm, user, password=PASSWORD):
        return upgrade(f"http://127.0.0.1:{port}/{realm}", "--basic", "-u", f"{user}:{password}")

    return ask


def logins(report, directory, running):
    """While slapd is there."""
    ask = asker(running)
    for realm in ("ldaps", "start-tls", "anonymous"):
        with report.check(f"ldap: {realm}: 101 for a member, 403 for others, 401 for a wrong password"):
            granted(ask(realm, "alice"))
            refused(ask(realm, "bob"), 403, [])
            refused(ask(realm, "alice", "wrong"), 401, [BASIC.format(realm)])
    with report.check("ldap: 101 for a name with a comma and parentheses"):
        granted(ask("ldaps", "doe"))
    with report.check("ldap: who is taken out of the group loses the next handshake"):
        directory.change("delete", PEOPLE["alice"])
        refused(ask("ldaps", "alice"), 403, [])
        directory.change("add", PEOPLE["alice"])
        granted(ask("ldaps", "alice"))
    with report.check("ldap: a filter in the name matches nobody"):
        for name in ("*", "*)(uid=*", "alice)(uid=alice", "al*", "\\2a", "alice\\"):
            refused(ask("ldaps", name), 401, [BASIC.format("ldaps")])
    with report.check("ldap: an unknown user is told the same as a wrong password"):
        unknown, wrong = ask("ldaps", "nobody"), ask("ldaps", "alice", "wrong")
        fields = [[field for field in answer.fields if field[0].lower() != "date"] for answer in (unknown, wrong)]
        expect_equal(fields[0], fields[1], "the head")
        expect_equal(unknown.body, wrong.body, "the body")
    with report.check("ldap: an address of two people is nobody's, an address of one is"):
        refused(ask("mail", "both@example.test"), 401, [BASIC.format("mail")])
        granted(ask("mail", "alice@example.test"))
        expect_equal(running.events("decision")[-1]["subject"], "alice", "the subject")
    with report.check("ldap: an empty password is refused without a connection"):
        before = directory.connections()
        refused(ask("ldaps", "alice", ""), 401, [BASIC.format("ldaps")])
        time.sleep(0.2)
        expect_equal(directory.connections(), before, "the number of connections")
    for realm in ("stranger", "start-tls-stranger"):
        with report.check(f"ldap: {realm}: 503 for a certificate that nobody trusted vouches for"):
            unavailable(ask(realm, "alice"))


def absences(report, directory, running):
    """While slapd is silent or gone, and after that."""
    ask = asker(running)
    with report.check("ldap: 503 in time while slapd is silent, and 101 afterwards"):
        with directory.paused():
            for realm in ("ldaps", "start-tls", "anonymous"):
                start = time.monotonic()
                unavailable(ask(realm, "alice"))
                took = time.monotonic() - start
                expect(took < TIMEOUT + MARGIN, f"it took {took:.1f} s")
        granted(ask("ldaps", "alice"))
    with report.check("ldap: 503 at once while slapd is gone, and 101 afterwards"):
        directory.kill()
        start = time.monotonic()
        for password in (PASSWORD, "wrong"):
            unavailable(ask("ldaps", "alice", password))
        expect(time.monotonic() - start < TIMEOUT, "it waited for nobody")
        directory.start()
        granted(ask("ldaps", "alice"))


def unavailable(answer):
    """The refusal of somebody who may be right."""
    refused(answer, 503, [])
    expect(answer.all("retry-after"), "there is no Retry-After")
