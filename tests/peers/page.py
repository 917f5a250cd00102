"""Runs docs/clients.md: its files are written, its server is started, and each of its calls has to do what the page
says. A comment in front of each block tells what it is:

    <!-- file: NAME -->                 written to NAME
    <!-- setup -->                      run once; what it exports stays
    <!-- start -->                      the server's command line
    <!-- prints [TIMES]: TEXT -->       run by its language; its output holds TEXT so many times
    <!-- page[, signed in]: TEXT -->    run in a page of the server, in Chromium; its console shows TEXT

Only ports are another: the page says 8443 throughout, a test takes one that is free.
"""

import base64
import collections
import contextlib
import hmac
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import time

from browser import browser
from material import BLANK
from program import Program, environment
from report import Missing, expect, expect_equal

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/clients.md"
# The name that the page uses for both programs.
PROGRAM = "countersign-smol"
PORT = "8443"

# The call in Rust is compiled, with TLS, before it runs.
SECONDS = 300

# How a call is run: the end of its file's name, its command, and what has to be installed for it.
LANGUAGES = {
    "sh": (".sh", ["bash", "-eu"], "."),
    "python": (".py", ["python"], "venv/bin/python"),
    "js": (".mjs", ["node"], "node_modules/ws"),
}

Block = collections.namedtuple("Block", "name kind how wanted language text")
BLOCK = re.compile(r"(?:^<!-- (?P<kind>\w+)(?P<how>[^:>]*?)(?:: (?P<wanted>[^>]*))? -->\n)?"
                   r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


def checks(report, path, tools):
    """Everything on the page, against one program."""
    with tempfile.TemporaryDirectory(prefix="countersign-page-") as folder, contextlib.ExitStack() as stack:
        with report.check("clients.md: every block says how it is run, and its server starts"):
            Reader(report, path, tools, pathlib.Path(folder), stack).read(PAGE.read_text())


def blocks(text):
    """The blocks of the page, each with its line and the heading that it stands under."""
    found = []
    for match in BLOCK.finditer(text):
        before = text[:match.start("text")]
        name = f"clients.md:{before.count(chr(10)) + 1}: {re.findall(r'^## (.*)$', before, re.M)[-1]}"
        expect(match["kind"], f"{name}: nothing says how this block is run")
        found.append(Block(name, **match.groupdict()))
    return found


class Reader:
    """Someone who does what the page says, in a folder of their own."""

    def __init__(self, report, path, tools, folder, stack):
        self.report, self.path, self.tools, self.folder, self.stack = report, path, tools, folder, stack
        self.port = self.chromium = None
        # What the page calls by name: the program under test, and the Python that has the libraries.
        self.environment = environment() | {
            "PATH": os.pathsep.join([str(path.parent), str(tools / "venv/bin"), os.environ["PATH"]]),
            "CARGO_TARGET_DIR": str(tools / "rust"),
        }
        # Where Node looks for modules, and the versions that the workspace is tested with.
        (folder / "node_modules").symlink_to(tools / "node_modules")
        shutil.copy(ROOT / "Cargo.lock", folder)

    def read(self, text):
        """Does it all, from the top to the bottom."""
        for block in blocks(text.replace(PROGRAM, self.path.name)):
            # A fault of these is one of everything behind them.
            if block.kind in ("file", "setup", "start"):
                getattr(self, block.kind)(block)
            else:
                expect(block.kind in ("prints", "page"), f"{block.name}: what is {block.kind!r}?")
                with self.report.check(block.name):
                    getattr(self, block.kind)(block)

    def file(self, block):
        """Writes a file; a server's takes a port that is free."""
        target = self.folder / block.wanted
        target.parent.mkdir(exist_ok=True)
        target.write_text(self.at_port(block.text.replace(f"127.0.0.1:{PORT}", "127.0.0.1:0")))

    def setup(self, block):
        """Runs it, and takes over what it exports."""
        printed = self.run(["bash", "-euc", f"{block.text}\nenv -0"])
        self.environment |= dict(line.split("=", 1) for line in printed.split("\0") if "=" in line)

    def start(self, block):
        """Starts the server."""
        program, *arguments = shlex.split(block.text)
        expect_equal(program, self.path.name, "the program")
        running = Program(self.path, *arguments, listeners=1, folder=self.folder)
        self.stack.callback(running.kill)
        self.port = running.port("edge")

    def prints(self, block):
        """Runs a call, and looks at what it prints."""
        suffix, command, needed = LANGUAGES[block.language]
        if not (self.tools / needed).exists():
            raise Missing("tests/peers/install")
        call = self.folder / f"call{suffix}"
        call.write_text(self.at_port(block.text))
        printed = self.run([*command, str(call)])
        expect_equal(printed.count(block.wanted), int(block.how or 1), f"{printed!r}: how often it says {block.wanted!r}")

    def page(self, block):
        """Runs a script in a page of the server's, signed in or with what it is given."""
        if self.chromium is None:
            self.chromium = self.stack.enter_context(browser())
        home = f"https://localhost:{self.port}"
        page = self.chromium.page(home + BLANK)
        if block.how == ", signed in":
            page.visit(f"{home}/login?next={BLANK}")
            page.type("#username", "alice")
            page.type("#password", self.environment["PASSWORD"])
            page.enter()
        else:
            name, password = self.phone()
            given = {"token": self.environment["TOKEN"], "name": name, "password": password}
            page.run(f"const {{token, name, password}} = {json.dumps(given)}")
        shown = page.console(self.at_port(block.text))
        expect(block.wanted in shown, f"it shows {shown!r}")

    def phone(self):
        """What the provisioning hands out to a phone."""
        name = f"{int(time.time()) + 300}:1001"
        secret = (self.folder / "phones.secret").read_text().rstrip()
        return name, base64.b64encode(hmac.digest(secret.encode(), name.encode(), "sha256")).decode()

    def at_port(self, text):
        """The text with the port that the server got."""
        return text.replace(f"localhost:{PORT}", f"localhost:{self.port}")

    def run(self, command):
        """What a command prints, in the reader's folder."""
        done = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=SECONDS, env=self.environment)
        expect_equal(done.returncode, 0, f"{done.stdout[-500:]} {done.stderr[-1000:]} The exit code")
        return done.stdout
