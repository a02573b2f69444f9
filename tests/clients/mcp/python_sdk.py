# PyPI's mcp, as its documentation has it.
import asyncio, contextlib, urllib.parse

from cases import ISSUER, MODE, run

import httpx2
from browser import browse
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

CALLBACK = "http://127.0.0.1:3000/callback"


class Storage:
    """Keeps the tokens in memory."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def user_provider(url, traffic, user):
    answers = []

    async def redirect(page):
        traffic.page(page)
        answers.append(await asyncio.to_thread(browse, page, CALLBACK))

    async def callback():
        answer = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answers.pop()).query))
        return AuthorizationCodeResult(**answer)

    storage = Storage()
    metadata = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
    storage.client = OAuthClientInformationFull(client_id=user, issuer=ISSUER, **metadata)
    return OAuthClientProvider(url, OAuthClientMetadata(**metadata), storage, redirect, callback)


@contextlib.asynccontextmanager
async def connect(url, traffic, job=None, stored=None, user=None, token=None):
    provider, headers = None, {}
    if job:
        storage = Storage()
        storage.tokens = stored and OAuthToken(access_token=stored)
        provider = ClientCredentialsOAuthProvider(url, storage, job, "a secret", issuer=ISSUER)
    elif user:
        provider = user_provider(url, traffic, user)
    else:
        headers = {"Authorization": f"Bearer {token}"}
    hooks = {"response": [traffic.response]}
    async with httpx2.AsyncClient(auth=provider, headers=headers, event_hooks=hooks) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=MODE) as client:
            yield lambda tool: client.call_tool(tool, {})


asyncio.run(run(connect, "native"))
