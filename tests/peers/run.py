#!/usr/bin/env python3
"""Lets programs by other people meet countersign: curl, aiohttp, the WebSocket libraries of Python and Node,
Chromium, HAProxy, OpenLDAP's slapd, Redis, Autobahn's cases, sslyze. One line for each check, the sum at the end, exit code
1 if one failed.

    tests/peers/install            # once: the peers, below target/peers
    tests/peers/run.py             # both programs of target/release
    tests/peers/run.py target/debug/countersign-std
"""

import argparse
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import aiohttp_digest
import bus
import chromium
import curl
import demo
import haproxy
import ldap
import page
import suites
import upstreams
from material import PASSWORD, Material
from program import Program, environment
from report import Missing, Report, expect, expect_equal

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = ["countersign-smol", "countersign-std"]

# How long the token lives whose end is awaited: enough for an interpreter to start and a socket to open.
BRIEF_SECONDS = 4
CLIENT_SECONDS = 120


def main():
    """Reads the command line and runs everything against each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", default=[ROOT / "target/release" / name for name in PROGRAMS])
    parser.add_argument("--tools", type=pathlib.Path, default=ROOT / "target/peers", help="where the peers are")
    arguments = parser.parse_args()
    with_installed_modules(arguments.tools / "venv")
    report = Report()
    for program in arguments.programs:
        meet(report, pathlib.Path(program).resolve(), arguments.tools.resolve())
    raise SystemExit(report.sum())


def with_installed_modules(venv):
    """Goes on in the interpreter that has the peers written in Python, if it is there."""
    python = venv / "bin/python"
    if python.exists() and pathlib.Path(sys.prefix).resolve() != venv.resolve():
        os.execv(python, [python, *sys.argv])


def meet(report, path, tools):
    """Every peer against one program."""
    report.subject = path.name
    with (tempfile.TemporaryDirectory(prefix="countersign-peers-") as folder,
          upstreams.Upstreams(tools, path) as behind):
        try:
            material = Material(folder, path, behind.ports)
            running = Program(path, "--config", material.config, listeners=4)
        except Exception as why:  # Without a program every check would only repeat this.
            report.fail("start", why)
            return
        try:
            python = tools / "venv/bin/python"
            for name, checks in {
                "curl": lambda: curl.checks(report, running, material),
                "websockets": lambda: client(report, "websockets", running, material, python,
                                             [python, HERE / "client_websockets.py"]),
                "ws": lambda: client(report, "ws", running, material, tools / "node_modules/ws",
                                     ["node", HERE / "client_ws.mjs", tools]),
                "websockets behind the proxy": lambda: client(
                    report, "websockets through the proxy", running, material, python,
                    [python, HERE / "client_websockets.py"], "behind/websockets"),
                "ws behind the proxy": lambda: client(
                    report, "ws through the proxy", running, material, tools / "node_modules/ws",
                    ["node", HERE / "client_ws.mjs", tools], "behind/ws"),
                "aiohttp": lambda: aiohttp_digest.checks(report, running, material),
                "haproxy": lambda: haproxy.checks(report, running, material),
                "chromium": lambda: chromium.checks(report, running, material),
                "ldap": lambda: ldap.checks(report, path, material),
                "bus": lambda: bus.checks(report, path, material),
                "autobahn": lambda: suites.autobahn_checks(report, tools, running, material, "echo"),
                "autobahn behind the proxy": lambda: suites.autobahn_checks(
                    report, tools, running, material, "behind/tungstenite"),
                "sslyze": lambda: suites.sslyze_checks(report, tools, running, material),
            }.items():
                with report.phase(name):
                    checks()
            with report.check("end: SIGTERM, exit code 0, no panic, no token and no password in the log"):
                running.tell_to_end()
                expect_equal(running.end(), 0, "the exit code")
                expect(running.events("decision"), "no decision was logged")
                expect_equal(running.events("panicked"), [], "what panicked")
                told = [line for line in running.log if any(secret in line for secret in [PASSWORD, *material.tokens()])]
                expect(not told, "one is there")
        finally:
            running.kill()
    with report.phase("demo"):
        demo.checks(report, path)
    with report.phase("clients.md"):
        page.checks(report, path, tools)


def client(report, name, running, material, needed, command, service="echo"):
    """Runs a client's own script, which prints a line for each of its checks, against the service at a path."""
    brief_until = int(time.time()) + BRIEF_SECONDS
    password = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    given = {
        "url": f"wss://localhost:{running.port('edge')}/{service}",
        "authority": str(material.authority),
        "bearer": f"Bearer {material.key.token()}",
        "basic": f"Basic {password}",
        "brief": f"Bearer {material.key.token(exp=brief_until)}",
        "brief_until": brief_until,
    }
    with report.check(f"{name}: its script ran to its end"):
        if not needed.exists() or not shutil.which(command[0]):
            raise Missing("tests/peers/install")
        done = subprocess.run([str(word) for word in command], input=json.dumps(given), text=True,
                              capture_output=True, timeout=CLIENT_SECONDS, env=environment())
        where = "" if service == "echo" else f" at /{service}"
        report.take(line.replace(": ", f"{where}: ", 1) for line in done.stdout.splitlines())
        expect_equal(done.returncode, 0, f"{done.stderr[-500:]} the exit code")


if __name__ == "__main__":
    main()
