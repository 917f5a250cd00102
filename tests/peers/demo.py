"""The demo as its first user meets it: the page, and the commands to paste."""

import subprocess
import threading

import chromium
from curl import SECONDS
from program import Program, environment
from report import expect, expect_equal

# What the three commands are answered: without a credential, with the password, with the token.
ANSWERS = ["HTTP/1.1 401 Unauthorized", "HTTP/1.1 101 Switching Protocols", "HTTP/1.1 101 Switching Protocols"]


def checks(report, path):
    """Starts the demo, opens its page and runs what it prints."""
    demo = Program(path, "--listen", "127.0.0.1:0", listeners=1)
    try:
        with report.check("demo: its page is there for everybody"):
            page = shell(f"curl -s -k -f https://localhost:{demo.port('demo')}/")
            expect("<html" in page, "it is no page")
        with report.check("demo: the printed commands do what they say"):
            expect_equal(pasted(demo.printout()), ANSWERS, "what they are answered")
        chromium.demo_checks(report, demo)
        with report.check("demo: the log holds neither the password nor the token"):
            secrets = [line.split(": ", 1)[1] for line in demo.printout().splitlines()
                       if line.startswith(("password: ", "token: "))]
            expect_equal(len(secrets), 2, "the number of secrets in the printout")
            demo.tell_to_end()
            expect_equal(demo.end(), 0, "the exit code")
            expect(not any(secret in line for secret in secrets for line in demo.log), "one of them is there")
    finally:
        demo.kill()


def pasted(printout):
    """Runs the printed commands side by side, because curl waits for frames until its time is over."""
    commands = [line.strip() for line in printout.splitlines() if line.lstrip().startswith("curl ")]
    lines = [""] * len(commands)

    def paste(index):
        lines[index] = shell(commands[index]).split("\n", 1)[0]

    threads = [threading.Thread(target=paste, args=(index,)) for index in range(len(commands))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return lines


def shell(command):
    """What a command writes to standard output."""
    return subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, timeout=SECONDS, env=environment()).stdout
