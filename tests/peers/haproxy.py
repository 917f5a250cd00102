"""HAProxy in TCP mode, which tells by the PROXY protocol, version 2, who is behind it."""

import contextlib
import os
import shutil
import socket
import subprocess

from curl import granted, upgrade
from material import PASSWORD
from program import environment
from report import Missing, expect, expect_equal

# Where the client is: the balancer's own address is 127.0.0.1.
CLIENT = "127.0.0.2"


def checks(report, running, material):
    """Asks through the balancer, and around it."""
    with report.check("haproxy: it starts, and does all that it is asked"), balancer(running, material) as port:
        trust = ("--cacert", str(material.authority))

        def ask(*options):
            before = running.decisions()
            answer = upgrade(f"https://localhost:{port}/echo", *trust, "--interface", CLIENT, *options)
            decision = running.decides(before, server="behind", path="/echo", status=answer.status)
            return answer, decision["peer"].rsplit(":", 1)[0]

        with report.check("haproxy: 401 and 101 through it, and the peer in the log is the client"):
            answer, peer = ask("-u", "alice:wrong")
            expect_equal((answer.status, peer), (401, CLIENT), "the status and the peer")
            answer, peer = ask("-u", f"alice:{PASSWORD}")
            granted(answer)
            expect_equal(peer, CLIENT, "the peer")
        with report.check("haproxy: who does not come through it is not served"):
            try:
                answer = upgrade(f"https://localhost:{running.port('behind')}/echo", *trust)
            except RuntimeError:
                pass  # Closed without an answer, as it has to be.
            else:
                expect(False, f"the status is {answer.status}")


@contextlib.contextmanager
def balancer(running, material):
    """A running HAProxy in front of the server `behind`; its port."""
    path = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        raise Missing("apt-get install haproxy")
    # It takes the socket over, so that nobody else can have the port.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = material.folder / "haproxy.cfg"
        config.write_text(f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen edge
    bind fd@{listener.fileno()}
    server edge 127.0.0.1:{running.port('behind')} send-proxy-v2
""")
        process = subprocess.Popen([path, "-db", "-f", config], pass_fds=[listener.fileno()], env=environment(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield port
            expect_equal(process.poll(), None, "the exit code of haproxy, which should still run,")
        finally:
            process.kill()
            process.wait()
