"""Suites by others: Autobahn's WebSocket cases, and sslyze's judgement of the TLS server."""

import json
import pathlib
import re
import subprocess

from program import environment
from report import Missing, expect, expect_equal

# Every case of Autobahn's suite but those of permessage-deflate (groups 12 and 13).
CASES = 301
# Cases that pass without being strict: invalid UTF-8 is noticed at the end of its frame, not in the middle.
NON_STRICT = {"6.4.3", "6.4.4"}

# Failed cases that are named.
SHOWN = 10

AUTOBAHN_SECONDS = 120
SSLYZE_SECONDS = 60


def autobahn_checks(report, tools, running, material, service):
    """Runs the cases over plain text against the service at a path, authenticated by a token in the query."""
    with report.check(f"autobahn: {CASES} cases at /{service}"):
        folder = material.folder / "autobahn" / service
        url = f"ws://127.0.0.1:{running.port('loopback')}/{service}?access_token={material.key.token()}"
        run([str(tools / "venv/bin/kosoku"), url, "-p", "4", "-x", "12.*", "-x", "13.*", "-o", str(folder)],
            AUTOBAHN_SECONDS)
        behaviors = cases(folder)
        failed = {case: behavior for case, behavior in behaviors.items()
                  if behavior not in ("OK", "INFORMATIONAL", "NON-STRICT")}
        expect(not failed, f"{len(failed)} failed, such as {dict(list(failed.items())[:SHOWN])}")
        expect_equal(len(behaviors), CASES, "the number of cases")
        lax = {case for case, behavior in behaviors.items() if behavior == "NON-STRICT"}
        expect(lax <= NON_STRICT, f"not strict: {sorted(lax)}")


def cases(folder):
    """The behavior in each case, from the index of the reports."""
    index = json.loads((pathlib.Path(folder) / "index.json").read_text())
    (agent,) = index.values()
    return {case: result["behavior"] for case, result in agent.items()}


def sslyze_checks(report, tools, running, material):
    """Holds the TLS server against Mozilla's guideline."""
    with report.check("sslyze: Mozilla's intermediate configuration"):
        text = run([str(tools / "venv/bin/sslyze"), "--certinfo_ca_file", str(material.authority),
                    "--mozilla_config=intermediate", f"localhost:{running.port('edge')}"], SSLYZE_SECONDS)
        expect("OK - Compliant" in text, re.sub(r".*COMPLIANCE AGAINST", "", text, flags=re.S))


def run(command, seconds):
    """Runs an installed tool and returns what it writes."""
    if not pathlib.Path(command[0]).exists():
        raise Missing("tests/peers/install")
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=seconds, env=environment()).stdout
