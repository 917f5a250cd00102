"""One of the two programs, running: its addresses, its log, its end."""

import json
import os
import signal
import subprocess
import tempfile
import threading

# How long a program may take to listen, or to end.
PATIENCE = 15


def environment():
    """The environment without what would send loopback traffic to a proxy."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class Program:
    """Starts a program with JSON log lines and waits until it listens."""

    def __init__(self, path, *arguments, listeners):
        self.log = []
        self._listening = threading.Semaphore(0)
        self.urls = {}
        self._out = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [path, *arguments, "--log", "json"], stdin=subprocess.DEVNULL, stdout=self._out,
            stderr=subprocess.PIPE, text=True, env=environment())
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        for _ in range(listeners):
            if not self._listening.acquire(timeout=PATIENCE):
                self.kill()
                raise RuntimeError("does not listen: " + "".join(self.log))

    def _read_log(self):
        for line in self._process.stderr:
            self.log.append(line)
            event = json.loads(line)
            if event["event"] == "listening":
                self.urls[event["server"]] = event["url"]
                self._listening.release()

    def port(self, server):
        """The port that `server` got."""
        return int(self.urls[server].rsplit(":", 1)[1])

    def printout(self):
        """What it has written to standard output; all of it was there before it listened."""
        self._out.seek(0)
        return self._out.read()

    def events(self, name):
        """The log lines of one kind so far."""
        events = (json.loads(line) for line in list(self.log))
        return [event for event in events if event["event"] == name]

    def tell_to_end(self):
        """Sends the signal on which it drains."""
        self._process.send_signal(signal.SIGTERM)

    def end(self):
        """Waits for its end and the end of its log; returns the exit code."""
        code = self._process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        return code

    def kill(self):
        """Ends it whatever state it is in."""
        self._process.kill()
        self._process.wait()
