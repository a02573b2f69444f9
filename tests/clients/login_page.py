#!/usr/bin/env python3
"""Logs in at a running authorization_server with a headless Chromium, with the keyboard and without any script:

    login_page.py ISSUER FOLDER

The server has the public client `web` with the redirect URI `http://127.0.0.1/cb` and the scopes `profile orders:read`,
and the user `ada` with the password `correct horse: battery`. Writes pictures to FOLDER. Uses WebDriver with chromedriver.
"""

import base64, hashlib, http.server, json, os, pathlib, re, secrets, signal, subprocess, sys, tempfile, threading, time
import urllib.error, urllib.parse, urllib.request

ISSUER, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
NAME, PASSWORD = "ada", "correct horse: battery"
TITLE = 'Log in for Reports <b>&amp; "Söhne"</b>'
TAB, ENTER, SPACE = "\ue004", "\ue007", " "


class Answers(http.server.BaseHTTPRequestHandler):
    """The app: the redirect URI, and other pages for the browser."""

    pages, seen = {}, []

    def do_GET(self):
        path = self.path.split("?")[0]
        status, text = Answers.pages.get(path, (200, "<!doctype html><title>back in the app</title>"))
        if path != "/favicon.ico":
            Answers.seen.append((self.path, dict(self.headers)))
        self.send_response(status)
        self.send_header("content-type", "text/html")
        self.send_header("location", text if status == 303 else "/")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class Browser:
    def __init__(self, folder):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )
        try:
            self.begin(folder)
        except BaseException:
            self.kill()
            raise

    def begin(self, folder):
        started = next(filter(None, (re.search(r"successfully on port (\d+)", line) for line in self.driver.stdout)))
        self.url = f"http://127.0.0.1:{started[1]}/session"
        arguments = ["headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "no-first-run",
                     "disable-background-networking", "disable-component-update", "force-renderer-accessibility",
                     "window-size=800,900", f"user-data-dir={folder}"]
        options = {"args": arguments, "prefs": {"profile.managed_default_content_settings.javascript": 2}}
        capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        session = self.ask("POST", "", {"capabilities": capabilities})
        self.url += "/" + session["sessionId"]
        # Without this, a window without a screen shows no focus before the first key.
        self.ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setFocusEmulationEnabled", "params": {"enabled": True}})

    def ask(self, method, path, body=None):
        body = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, body, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {json.load(error)['value']['message']}") from None

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def press(self, *keys):
        """Presses keys. They go to the element that has the focus."""
        for text in keys:
            strokes = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
            self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def tab(self):
        """Moves the focus to the next element. Repeats this, because a page that is not painted yet gets no keys."""
        before = self.focused()
        for _ in range(20):
            self.press(TAB)
            for _ in range(10):
                if self.focused() != before:
                    return
                time.sleep(0.05)
        raise AssertionError(f"the focus stays on {before}")

    def type(self, text):
        """Types a text into the field that has the focus."""
        element = next(iter(self.ask("GET", "/element/active").values()))
        self.press(text)
        becomes(lambda: self.ask("GET", f"/element/{element}/property/value"), text)

    def focused(self):
        """Returns what a screen reader reads for the element that has the focus."""
        element = next(iter(self.ask("GET", "/element/active").values()))
        return tuple(self.ask("GET", f"/element/{element}/computed{what}") for what in ("role", "label"))

    def texts(self, selector):
        found = self.ask("POST", "/elements", {"using": "css selector", "value": selector})
        return [self.ask("GET", f"/element/{next(iter(element.values()))}/text") for element in found]

    def described(self, role, name):
        """Returns the descriptions of the nodes with this role and name in the accessibility tree."""
        tree = self.ask("POST", "/goog/cdp/execute", {"cmd": "Accessibility.getFullAXTree", "params": {}})["nodes"]
        value = lambda node, member: node.get(member, {}).get("value", "")
        return [value(node, "description") for node in tree if (value(node, "role"), value(node, "name")) == (role, name)]

    def title(self):
        return self.ask("GET", "/title")

    def picture(self, name, width=800, height=900):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        metrics = self.ask("POST", "/goog/cdp/execute", {"cmd": "Page.getLayoutMetrics", "params": {}})
        check(metrics["cssContentSize"]["width"] <= width, f"at {width} pixels the page is {metrics['cssContentSize']['width']} wide")
        (FOLDER / name).write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    def end(self):
        try:
            self.ask("DELETE", "")
        finally:
            self.kill()

    def kill(self):
        os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()


def check(holds, what):
    assert holds, what


def becomes(find, wanted):
    """Waits up to ten seconds for a value: WebDriver does not wait for the effects of a key."""
    for _ in range(200):
        if find() == wanted:
            return
        time.sleep(0.05)
    same(find(), wanted)


def same(found, wanted):
    check(found == wanted, f"{found!r} instead of {wanted!r}")


class Request:
    """A request for an authorization code."""

    def __init__(self, redirect_uri, **more):
        self.verifier, self.state, self.redirect_uri = secrets.token_urlsafe(32), secrets.token_urlsafe(8), redirect_uri
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {"response_type": "code", "client_id": "web", "redirect_uri": redirect_uri, "state": self.state,
                 "code_challenge": challenge, "code_challenge_method": "S256"} | more
        self.url = f"{ISSUER}/authorize?{urllib.parse.urlencode(query)}"

    def answer(self):
        """Returns the parameters that the app got. The browser must not send the page's URL to the app."""
        path, headers = Answers.seen.pop()
        check(not any(name.lower() == "referer" for name in headers), "the app gets the URL of the page")
        parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query))
        same((parameters.pop("state"), parameters.pop("iss")), (self.state, ISSUER))
        return parameters

    def redeem(self, code):
        form = {"grant_type": "authorization_code", "client_id": "web", "code": code,
                "redirect_uri": self.redirect_uri, "code_verifier": self.verifier}
        with urllib.request.urlopen(f"{ISSUER}/token", urllib.parse.urlencode(form).encode(), timeout=10) as answer:
            return json.load(answer)


def log_in(browser):
    browser.tab()
    fill_in(browser, PASSWORD)


def fill_in(browser, password):
    browser.type(NAME)
    browser.tab()
    browser.type(password)
    browser.press(ENTER)


def drive(browser, app):
    callback = f"http://127.0.0.1:{app}/cb"

    step("no script runs")
    Answers.pages["/script"] = (200, "<title>without</title><script>document.title = 'with'</script>")
    browser.open(f"http://127.0.0.1:{app}/script")
    same(browser.title(), "without")
    Answers.seen.clear()

    step("the page: its texts, and what Tab reaches")
    request = Request(callback)
    browser.open(request.url)
    same(browser.title(), TITLE)
    same(browser.texts("h1"), ['Reports <b>&amp; "Söhne"</b> asks for access'])
    same(browser.texts("li"), ["profile", "orders:read", "https://api.test/a?b=<c>&d"])
    same(browser.texts("strong"), [f"127.0.0.1:{app}"])
    stops = []
    for _ in range(4):
        browser.tab()
        stops.append(browser.focused())
    same(stops, [("textbox", "Name"), ("textbox", "Password"), ("button", "Allow"), ("button", "Deny")])
    browser.open(request.url)
    browser.tab()
    browser.type(NAME)
    browser.tab()
    browser.picture("authorize.png")
    browser.picture("authorize-phone.png", 320, 640)

    step("an empty form: the browser itself requires the name")
    browser.open(request.url)
    browser.tab()
    browser.press(ENTER)
    same(browser.focused(), ("textbox", "Name"))
    same(Answers.seen, [])

    step("a wrong password: the title, an alert and the focused field state the problem")
    browser.open(request.url)
    browser.tab()
    fill_in(browser, "wrong")
    becomes(browser.title, "Error: " + TITLE)
    same(browser.texts("[role=alert]"), ["Error: Name or password is wrong."])
    same(browser.focused(), ("textbox", "Password"))
    for field in ("Name", "Password"):
        same(browser.described("textbox", field), ["Error: Name or password is wrong."])
    browser.picture("authorize-wrong.png")

    step("the right password: code, state and iss; the code is redeemed")
    browser.type(PASSWORD)
    browser.press(ENTER)
    becomes(browser.title, "back in the app")
    parameters = request.answer()
    same(list(parameters), ["code"])
    token = request.redeem(parameters["code"])
    same((token["token_type"], token["scope"]), ("Bearer", "profile orders:read"))
    check("refresh_token" in token, "no refresh token")

    step("Deny requires no password")
    request = Request(callback, scope="profile")
    browser.open(request.url)
    same(browser.texts("li"), ["profile", "https://api.test/a?b=<c>&d"])
    for _ in range(4):
        browser.tab()
    browser.press(SPACE)
    becomes(browser.title, "back in the app")
    same(request.answer()["error"], "access_denied")

    step("a callback that redirects to another origin")
    Answers.pages["/cb"] = (303, f"http://localhost:{app}/home")
    request = Request(callback)
    browser.open(request.url)
    log_in(browser)
    becomes(browser.title, "back in the app")
    same(Answers.seen.pop()[0], "/home")
    check(request.redeem(request.answer()["code"])["access_token"], "no token")
    del Answers.pages["/cb"]

    step("two tabs: the first one is submitted last")
    first, second = Request(callback), Request(callback)
    browser.open(first.url)
    window = browser.ask("GET", "/window")
    other = browser.ask("POST", "/window/new", {"type": "tab"})["handle"]
    browser.ask("POST", "/window", {"handle": other})
    Answers.pages["/app"] = (200, f'<a href="{second.url.replace("&", "&amp;")}">Log in</a>')
    browser.open(f"http://localhost:{app}/app") # a site other than the server's
    browser.tab()
    browser.press(ENTER)
    becomes(browser.title, TITLE)
    log_in(browser)
    becomes(browser.title, "back in the app")
    same(list(second.answer()), ["code"])
    browser.ask("DELETE", "/window")
    browser.ask("POST", "/window", {"handle": window})
    log_in(browser)
    becomes(browser.title, "back in the app")
    same(list(first.answer()), ["code"])
    Answers.seen.clear()

    step("the form of another site, with a token that the server issued to that site")
    request = Request(callback)
    with urllib.request.urlopen(request.url, timeout=10) as page:
        stolen = re.search(r'name="csrf" value="([^"]+)"', page.read().decode())[1]
    fields = {"csrf": stolen, "answer": "allow", "name": NAME, "password": PASSWORD}
    fields = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    form = f'<form method="post" action="{request.url.replace("&", "&amp;")}">{fields}<button>A prize</button></form>'
    Answers.pages["/prize"] = (200, form)
    browser.open(f"http://localhost:{app}/prize")
    Answers.seen.clear()
    browser.tab()
    browser.press(ENTER)
    becomes(lambda: browser.texts("[role=alert]"), ["Error: This form was out of date. Please fill it in once more."])
    same(Answers.seen, [])

    step("a frame on another site stays empty")
    Answers.pages["/frame"] = (200, f'<iframe src="{request.url.replace("&", "&amp;")}"></iframe>')
    browser.open(f"http://127.0.0.1:{app}/frame")
    browser.ask("POST", "/frame", {"id": 0})
    same(browser.texts("form"), [])
    browser.ask("POST", "/frame", {"id": None})
    Answers.seen.clear()

    step("an unregistered redirect URI: an error page, and no redirect")
    browser.open(Request(f"http://127.0.0.1:{app}/other").url)
    same(browser.texts("h1"), ["This request cannot be answered"])
    same(browser.texts("form"), [])
    browser.picture("authorize-refused.png")
    same(Answers.seen, [])


def step(what):
    print("   ", what, flush=True)


app = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=app.serve_forever, daemon=True).start()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    browser = Browser(folder)
    try:
        drive(browser, app.server_address[1])
    finally:
        browser.end()
