# PyPI's fastmcp, as its documentation has it: it opens the desktop's browser.
import asyncio, contextlib

from cases import ISSUER, MODE, run

import httpx2
from fastmcp import Client
from fastmcp.client.auth import ClientCredentialsOAuthProvider, OAuth
from fastmcp.client.transports import StreamableHttpTransport
from mcp.shared.auth import OAuthToken


@contextlib.asynccontextmanager
async def connect(url, traffic, job=None, stored=None, user=None, token=None):
    auth = token
    if job:
        auth = ClientCredentialsOAuthProvider(client_id=job, client_secret="a secret", issuer=ISSUER)
    elif user:
        auth = OAuth(client_id=user, issuer=ISSUER)

    async def request(request):
        if request.url.path == "/authorize":
            traffic.page(str(request.url))

    def client(**settings):
        hooks = {"request": [request], "response": [traffic.response]}
        return httpx2.AsyncClient(event_hooks=hooks, **settings)

    transport = StreamableHttpTransport(url, auth=auth, httpx_client_factory=client)
    if stored:
        await auth.context.storage.set_tokens(OAuthToken(access_token=stored))
    async with Client(transport, mode=MODE) as client:
        yield lambda tool: client.call_tool(tool, {})


asyncio.run(run(connect, "localhost"))
