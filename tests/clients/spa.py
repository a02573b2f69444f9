# npm's oidc-client-ts in Chromium: serves spa.html or another PAGE from an origin of its own, logs in at the page of the server,
# and prints what the page shows. No proxy is between them.
import http.server, json, os, pathlib, re, signal, subprocess, tempfile, threading, time
import urllib.error, urllib.request

HERE = pathlib.Path(__file__).parent
FILES = {"/": HERE / os.environ.get("PAGE", "spa.html"), "/oidc-client-ts.min.js": HERE / "node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js"}
# The issuer in spa.html, which is replaced by that of the test. The other page reads the issuer from its URL.
AUTHORITY, ISSUER = b"authority: 'https://auth.example.com'", os.environ["ISSUER"]


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        file = FILES.get(self.path.split("?")[0])
        self.send_response(200 if file else 404)
        self.send_header("content-type", "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(file.read_bytes().replace(AUTHORITY, f"authority: '{ISSUER}'".encode()) if file else b"")

    def log_message(self, *_):
        pass


def ask(method, url, body=None):
    body = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["value"]


def drive(session, origin):
    def element(selector):
        for _ in range(100):
            try:
                found = ask("POST", session + "/element", {"using": "css selector", "value": selector})
                return f"{session}/element/{next(iter(found.values()))}"
            except urllib.error.HTTPError:
                time.sleep(0.05)
        raise AssertionError(f"no {selector}")

    ask("POST", session + "/url", {"url": f"{origin}/#issuer={ISSUER}&api={os.environ.get('API', '')}"})
    ask("POST", element("#login") + "/click", {})
    try:
        ask("POST", element("input[name=name]") + "/value", {"text": "ada"})
    except AssertionError:
        # The metadata could not be read.
        return "refused: the page stays: " + ask("GET", element("body") + "/text")
    ask("POST", element("input[type=password]") + "/value", {"text": "correct horse"})
    ask("POST", element("button[value=allow]") + "/click", {})
    text = ""
    for _ in range(100):
        try:
            text = ask("GET", element("body") + "/text").replace("Log in", "").strip()
        except urllib.error.HTTPError:
            pass  # the element is of the page before
        if "works" in text or "refused" in text or "not refreshed" in text:
            return text
        time.sleep(0.1)
    return "no result: " + text


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SPA_PORT"])), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True, start_new_session=True)
try:
    port = next(filter(None, (re.search(r"successfully on port (\d+)", line) for line in driver.stdout)))[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        arguments = ["headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", f"user-data-dir={folder}"]
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}}
        base = f"http://127.0.0.1:{port}/session"
        session = base + "/" + ask("POST", base, {"capabilities": wanted})["sessionId"]
        print(drive(session, f"http://127.0.0.1:{server.server_address[1]}"))
        ask("DELETE", session)
finally:
    os.killpg(driver.pid, signal.SIGKILL)
