# The cases for clients in Python: what the client gets from mcp_server, and what it requests from authorization_server.
# Prints a line for each case: its name, a tab, and `works` or what differs.
import asyncio, json, os, re, sys, urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

ISSUER, RESOURCE, ANOTHER_NAME = (os.environ[name] for name in ("ISSUER", "RESOURCE", "ANOTHER_NAME"))
# The version of the protocol, and the setting with which the clients negotiate it.
PROTOCOL = os.environ["PROTOCOL"]
MODE = "auto" if PROTOCOL == "2026-07-28" else "legacy"
STEPS = [("all-of", "admin_op", "mcp:tools mcp:admin"), ("any-of", "any_op", "mcp:tools mcp:write")]


class Traffic:
    """What one client and its server sent each other."""

    def __init__(self):
        # The refusals of the MCP server: status and challenge. 405 for a GET does not count: the server has no stream.
        self.refusals = []
        # The scopes that the client requested, one entry for each request for authorization.
        self.requested = []
        # The protocol's version in the client's last request.
        self.protocol = None

    async def response(self, response):
        """A hook of httpx2."""
        request = response.request
        if request.url.path == "/mcp" and response.status_code in (401, 403):
            self.refusals.append((response.status_code, response.headers.get("www-authenticate")))
        if request.url.path == "/mcp":
            self.protocol = request.headers.get("mcp-protocol-version")
        if str(request.url) == f"{ISSUER}/token":
            form = dict(urllib.parse.parse_qsl((await request.aread()).decode()))
            if form["grant_type"] == "client_credentials":
                self.requested.append(form.get("scope"))

    def page(self, url):
        """The client sends the user to this page."""
        self.requested.append(urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["scope"][0])


def same(found, expected):
    assert found == expected, f"{found} instead of {expected}"


def names(scope):
    return sorted(scope.split(" "))


def check_challenge(refusal, expected, scope=None, resource=RESOURCE):
    status, challenge = refusal
    parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge or ""))
    document = resource.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
    same((status, parameters.get("error"), parameters.get("resource_metadata")), (*expected, document))
    if scope:
        same(names(parameters["scope"]), names(scope))


def whoami(result):
    facts = json.loads(result.content[0].text)
    return facts["client_id"], facts["sub"], sorted(facts["scopes"])


async def check_first(call, traffic, client_id, subject, resource, error):
    """The client is refused once, requests the challenge's scope, and calls a tool."""
    same(whoami(await call("whoami")), (client_id, subject, ["mcp:tools"]))
    same(traffic.protocol, PROTOCOL)
    same(len(traffic.refusals), 1)
    check_challenge(traffic.refusals[0], (401, error), None if error else "mcp:tools", resource)
    same(traffic.requested, ["mcp:tools"])


async def check_step_up(call, traffic, tool, scope):
    """The tool is refused once, with the least scopes. The client requests them and calls again."""
    result = await call(tool)
    assert not result.is_error, result
    same(len(traffic.refusals), 2)
    check_challenge(traffic.refusals[1], (403, "insufficient_scope"), scope)
    same([names(scope) for scope in traffic.requested], [["mcp:tools"], names(scope)])
    same(whoami(await call("whoami"))[2], names(scope))


def inner(error):
    """The first error of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def run(connect, user):
    """Runs all cases. `connect(url, traffic, …)` is a context manager of a function that calls a tool. It connects the
    confidential client `job`, which may have a `stored` token, or the public client `user`, or a client with a fixed `token`."""

    async def test(name, body):
        result = "works"
        try:
            await asyncio.wait_for(body, 20)
        except Exception as error:
            result = " ".join(f"{type(inner(error)).__name__}: {inner(error)}".split())
        print(f"{name}\t{result}", flush=True)

    async def first(subject, resource=RESOURCE, step=None, error=None, **client):
        traffic = Traffic()
        async with connect(resource, traffic, **client) as call:
            await check_first(call, traffic, next(iter(client.values())), subject, resource, error)
            if step:
                await check_step_up(call, traffic, *step)

    async def refused(token):
        traffic, accepted = Traffic(), False
        try:
            async with connect(RESOURCE, traffic, token=token) as call:
                await call("whoami")
                accepted = True
        except Exception:
            pass
        assert not accepted, "it was accepted"
        assert traffic.refusals, "there was no refusal"
        for refusal in traffic.refusals:
            check_challenge(refusal, (401, "invalid_token"))

    await test("client_credentials", first("job", job="job"))
    await test("another name", first("job", ANOTHER_NAME, job="job"))
    await test("code", first("ada", user=user))
    for kind, *step in STEPS:
        await test(f"step-up by code, {kind}", first("ada", step=step, user=user))
        await test(f"step-up by client_credentials, {kind}", first("job", step=step, job="job"))
    await test("wrong audience", refused(os.environ["TOKEN_FOR_ANOTHER_API"]))
    expired = os.environ["EXPIRED_TOKEN"]
    await test("expired", refused(expired))
    await test("expired, then a new token", first("job", error="invalid_token", job="job", stored=expired))
