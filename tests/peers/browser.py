"""A headless Chromium of its own, driven by the DevTools protocol (its JSON over a WebSocket): fresh profile,
fresh pages, no sleeps, and a bound on every wait."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from program import environment
from report import Failure, Missing, expect

NAMES = ("chromium", "chromium-browser", "google-chrome")
# How long it may take to start, and how long anything may take that it is asked for.
START_SECONDS = 60
SECONDS = 20

# It trusts any certificate: those that it meets here are made on the spot. It calls nobody by itself.
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--ignore-certificate-errors", "--remote-debugging-port=0")
LISTENING = "DevTools listening on "

# Opens a socket, says `hello`, and tells what came of it: the echo and the subprotocol, or the close code, which
# is all that a script may know of a refusal.
SOCKET = """(url, protocols) => new Promise((resolve) => {
  const socket = new WebSocket(url, protocols);
  socket.onopen = () => socket.send('hello');
  socket.onmessage = ({data}) => { resolve({echo: data, protocol: socket.protocol}); socket.close(1000); };
  socket.onclose = ({code}) => resolve({code});
})"""


@contextlib.contextmanager
def browser(hosts=()):
    """A browser that is gone afterwards, whatever happened. `hosts` are pairs of a name and its address."""
    try:
        from websockets.sync.client import connect
    except ImportError:
        raise Missing("tests/peers/install") from None
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise Missing("apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="countersign-browser-", ignore_cleanup_errors=True) as profile:
        rules = ",".join(f"MAP {name} {address}" for name, address in hosts)
        flags = [*FLAGS, f"--host-resolver-rules={rules}", f"--user-data-dir={profile}"]
        process = subprocess.Popen([path, *flags, "about:blank"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True, env=environment(), start_new_session=True)
        try:
            with connect(listening(process), max_size=None, proxy=None, open_timeout=SECONDS) as socket:
                yield Browser(socket)
        finally:
            # Its children are of the same group, and would write to the profile for a while.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listening(process):
    """The address of the protocol, which it writes to standard error among much else."""
    address = queue.SimpleQueue()

    def read():
        for line in process.stderr:
            if line.startswith(LISTENING):
                address.put(line.removeprefix(LISTENING).strip())
        address.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        found = address.get(timeout=START_SECONDS)
    except queue.Empty:
        found = None
    expect(found, "the browser does not start")
    return found


class Browser:
    """The connection to a browser, on which all its pages are spoken with."""

    def __init__(self, socket):
        self._socket = socket
        self._asked = 0
        self._events = []

    def page(self, url):
        """A page with cookies of its own, at `url`."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        page.call("Page.enable")
        page.visit(url)
        return page

    def call(self, method, session=None, **parameters):
        """Asks for something and returns its result."""
        self._asked += 1
        asked = {"id": self._asked, "method": method, "params": parameters}
        self._socket.send(json.dumps(asked | ({"sessionId": session} if session else {})))
        deadline = time.monotonic() + SECONDS
        while True:
            message = self._receive(deadline, method)
            if message.get("id") == self._asked:
                expect("error" not in message, f"{method}: {message.get('error')}")
                return message["result"]

    def forget(self, session, method):
        """Forgets the events of a kind that have happened so far."""
        self._events = [event for event in self._events if (event["sessionId"], event["method"]) != (session, method)]

    def event(self, session, method):
        """The next event of a kind, or one since `forget`."""
        deadline = time.monotonic() + SECONDS
        while True:
            for index, event in enumerate(self._events):
                if (event["sessionId"], event["method"]) == (session, method):
                    return self._events.pop(index)["params"]
            self._receive(deadline, method)

    def _receive(self, deadline, what):
        try:
            message = json.loads(self._socket.recv(max(0, deadline - time.monotonic())))
        except TimeoutError:
            raise Failure(f"the browser is silent about {what}") from None
        if "method" in message and "sessionId" in message:
            self._events.append(message)
        return message


class Page:
    """One tab."""

    LOADED = "Page.loadEventFired"
    WRITTEN = "Runtime.consoleAPICalled"

    def __init__(self, browser, session):
        self._browser = browser
        self._session = session

    def call(self, method, **parameters):
        """Asks for something that concerns this page."""
        return self._browser.call(method, self._session, **parameters)

    def visit(self, url):
        """Goes to `url` and waits until it is there."""
        self._browser.forget(self._session, self.LOADED)
        failed = self.call("Page.navigate", url=url).get("errorText")
        expect(not failed, f"{url}: {failed}")
        self._browser.event(self._session, self.LOADED)

    def run(self, script):
        """The value of a script, awaited if it is a promise. Top-level `await` is fine, as in a console."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, replMode=True)
        if "exceptionDetails" in done:
            thrown = done["exceptionDetails"]
            raise Failure(thrown.get("exception", {}).get("description") or thrown["text"])
        return done["result"].get("value")

    def console(self, script):
        """Runs a script, and returns the first line that it or what it left behind writes to the console."""
        self.call("Runtime.enable")
        self._browser.forget(self._session, self.WRITTEN)
        self.run(script)
        written = self._browser.event(self._session, self.WRITTEN)["args"]
        return " ".join(str(value.get("value", value.get("description"))) for value in written)

    def apply(self, function, *arguments):
        """The value of a function of the page's language, applied to values."""
        return self.run(f"await ({function})({', '.join(map(json.dumps, arguments))})")

    def socket(self, url, protocols=()):
        """What comes of a socket, see `SOCKET`."""
        return self.apply(SOCKET, url, list(protocols))

    def type(self, field, text):
        """Types into the field that a selector finds, as a keyboard does."""
        expect(self.apply("(field) => { const found = document.querySelector(field); found?.focus(); return !!found; }",
                          field), f"there is no {field} on the page")
        self.call("Input.insertText", text=text)

    def enter(self):
        """Presses Enter, which sends a form, and waits for what it leads to."""
        self._browser.forget(self._session, self.LOADED)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                      windowsVirtualKeyCode=13)
        self._browser.event(self._session, self.LOADED)
