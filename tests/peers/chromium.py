"""What a page in Chromium gets: by every way in that a browser has, and from pages of other origins."""

from urllib.parse import quote

from browser import browser
from material import BLANK, ELSEWHERE_PORT, HOME, NEIGHBOUR, PASSWORD, STRANGER
from report import expect, expect_equal

MARKER = "access_token"

# What a page sees of a refused handshake, whatever its status.
REFUSED = {"code": 1006}

# Posts to /ticket as a page does, with what the browser adds by itself or with a token.
TICKET = """async (token) => {
  const headers = token ? {Authorization: `Bearer ${token}`} : {};
  const answer = await fetch('/ticket', {method: 'POST', headers});
  if (!answer.ok) throw new Error(`POST /ticket was answered ${answer.status}`);
  return (await answer.json()).ticket;
}"""

# Presses the button that tries every way, and waits until it may be pressed again.
TRY_ALL = """async () => {
  const button = document.getElementById('try-all');
  button.click();
  await new Promise((resolve) => {
    const observer = new MutationObserver(() => { if (!button.disabled) { observer.disconnect(); resolve(); } });
    observer.observe(button, {attributes: true});
  });
  return [...document.querySelectorAll('#ways [role=status]')].map((seen) => seen.className + ': ' + seen.textContent);
}"""


def checks(report, running, material):
    """Runs all of them against a program that serves the configuration of `material`."""
    hosts = [(HOME, "127.0.0.1"), (NEIGHBOUR, material.elsewhere), (STRANGER, material.elsewhere)]
    with report.check("chromium: it starts, and does all that it is asked"), browser(hosts) as chromium:
        Visits(report, running, material, chromium).all()


def demo_checks(report, demo):
    """Tries every way of the demo's page, as a visitor without and with its token."""
    with report.check("chromium: the demo's page tries every way, and each does what it says"), browser() as chromium:
        token = next(line.removeprefix("token: ") for line in demo.printout().splitlines() if line.startswith("token: "))
        page = chromium.page(f"https://localhost:{demo.port('demo')}/#token={token}")
        seen = page.apply(TRY_ALL)
        # The first way has no expectation of its own: it depends on whether the visitor is signed in.
        expect(len(seen) == 8 and all(line.startswith("good: ✓") for line in seen), f"{seen}")


class Visits:
    """The checks, each with pages that share no cookies with those of another one."""

    def __init__(self, report, running, material, browser):
        self.report, self.running, self.browser = report, running, browser
        self.token = material.key.token()
        self.page = f"https://{HOME}:{running.port('edge')}"
        self.address = f"wss://{HOME}:{running.port('edge')}"

    def all(self):
        """Runs them. The cookie of the first page is used by those of other origins."""
        with self.report.check("chromium: a wrong password shows the login page again, with a word about it"):
            page = self.at(f"/login?next={BLANK}")
            self.sign_in(page, "wrong")
            expect(page.run("!!document.querySelector('form [type=password]')"), "there is no login page")
            expect(page.run("!!document.querySelector('[role=alert]')"), "there is no word about it")
        with self.report.check("chromium: without a session 401, which the page sees as 1006"):
            self.expect(self.at(BLANK), REFUSED, 401, "no_credential")
        self.cookie()
        self.ticket()
        self.tokens()
        self.userinfo()

    def cookie(self):
        """The session's cookie, from the server's own pages and from others."""
        page = self.at(f"/login?next={BLANK}")
        with self.report.check("chromium: form login leads to `next`, and the socket opens with the cookie"):
            self.sign_in(page, PASSWORD)
            expect_equal(page.run("location.pathname"), BLANK, "where the login leads")
            expect_equal(page.run("document.cookie"), "", "what a script sees of the cookie")
            self.expect(page, "", 101, "granted", carrier="session", subject="alice")
        with self.report.check("chromium: from another host of the site, which the cookie goes along with: bad_origin"):
            page.visit(f"https://{NEIGHBOUR}:{ELSEWHERE_PORT}{BLANK}")
            self.expect(page, REFUSED, 403, "bad_origin")
            # The counter-check: the same page, the same cookie, at a service that allows it.
            self.expect(page, "", 101, "granted", service="family", carrier="session", subject="alice")
        with self.report.check("chromium: from another site: bad_origin"):
            page.visit(f"https://{STRANGER}:{ELSEWHERE_PORT}{BLANK}")
            self.expect(page, REFUSED, 403, "bad_origin")
        with self.report.check("chromium: the session is still good, and a logout closes its socket"):
            page.visit(self.page + BLANK)
            code = page.apply("""(url) => new Promise((resolve, reject) => {
              const socket = new WebSocket(url);
              socket.onclose = ({code, reason}) => resolve(`${code} ${reason}`);
              socket.onopen = () => fetch('/logout', {method: 'POST', redirect: 'manual'}).catch(reject);
            })""", f"{self.address}/browsers")
            expect_equal(code, "3003 logged out", "how the socket ends")
            self.expect(page, REFUSED, 401, "no_credential")

    def ticket(self):
        """Tickets, made with a session and with a token."""
        page = self.at(f"/login?next={BLANK}")
        with self.report.check("chromium: a ticket of the session opens the socket, once"):
            self.sign_in(page, PASSWORD)
            ticket = page.apply(TICKET, None)
            self.expect(page, "", 101, "granted", f"?ticket={ticket}", carrier="ticket", subject="alice")
            self.expect(page, REFUSED, 401, "replayed", f"?ticket={ticket}")
        with self.report.check("chromium: a ticket for a token opens the socket"):
            page = self.at(BLANK)
            ticket = page.apply(TICKET, self.token)
            self.expect(page, "", 101, "granted", f"?ticket={ticket}", carrier="ticket", subject="alice")

    def tokens(self):
        """The token itself, where a script can put one."""
        page = self.at(BLANK)
        with self.report.check("chromium: the token in the query"):
            self.expect(page, "", 101, "granted", f"?{MARKER}={self.token}", carrier=f"query:{MARKER}")
        with self.report.check("chromium: the token as a subprotocol, and the marker selected"):
            self.expect(page, MARKER, 101, "granted", protocols=[MARKER, self.token], carrier=f"subprotocol:{MARKER}")
        with self.report.check("chromium: an altered token is refused"):
            self.expect(page, REFUSED, 401, "bad_signature", f"?{MARKER}={self.token[:-4]}AAAA")

    def userinfo(self):
        """A name and a password in the URL, which Chromium sends when it is asked."""
        for path, scheme in (("/phones", "Digest"), ("/echo", "Basic")):
            with self.report.check(f"chromium: name and password in the URL, by {scheme}, on one connection"):
                before = self.running.decisions()
                url = f"wss://alice:{quote(PASSWORD)}@{HOME}:{self.running.port('edge')}{path}"
                seen = self.at(BLANK).socket(url)
                expect_equal(seen, {"echo": "hello", "protocol": ""}, "what the page sees")
                asked = self.running.decides(before, status=401, reason="no_credential", path=path)
                granted = self.running.decides(before, status=101, scheme=scheme, subject="alice")
                expect_equal(granted["peer"], asked["peer"], "the port that it asks from")

    def at(self, path):
        """A page of the server's own."""
        return self.browser.page(self.page + path)

    def sign_in(self, page, password):
        """Types the name and a password into the login page."""
        page.type("#username", "alice")
        page.type("#password", password)
        page.enter()

    def expect(self, page, seen, status, reason, query="", protocols=(), service="browsers", **decision):
        """Opens a socket: what the page sees is `seen`, a close or the subprotocol of an echo. The log tells the
        rest."""
        before = self.running.decisions()
        found = page.socket(f"{self.address}/{service}{query}", protocols)
        self.running.decides(before, status=status, reason=reason, service=service, **decision)
        expect_equal(found, seen if seen is REFUSED else {"echo": "hello", "protocol": seen}, "what the page sees")
