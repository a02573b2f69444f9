# PyPI's httpx-oauth, as the chapter "OAuth2" of its documentation has it.
import asyncio, os
from urllib.parse import parse_qs, urlsplit

from browser import browse
from httpx_oauth.oauth2 import OAuth2

issuer = os.environ["ISSUER"]
client = OAuth2(
    os.environ["CLIENT_ID"],
    "a secret",
    f"{issuer}/authorize",
    f"{issuer}/token",
    refresh_token_endpoint=f"{issuer}/token",
    revoke_token_endpoint=f"{issuer}/revoke",
    revocation_endpoint_auth_method="client_secret_basic",
)


async def main():
    redirect_uri = "http://127.0.0.1:3000/callback"
    pkce = {}
    if os.environ.get("PKCE"):
        from authlib.common.security import generate_token
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        verifier = generate_token(48)
        pkce = dict(code_challenge=create_s256_code_challenge(verifier), code_challenge_method="S256")
    url = await client.get_authorization_url(redirect_uri, scope=["profile"], state="a state", **pkce)
    answer = parse_qs(urlsplit(browse(url, redirect_uri)).query)
    if "error" in answer:
        return f"refused: {answer['error_description'][0]}"
    token = await client.get_access_token(answer["code"][0], redirect_uri, verifier if pkce else None)
    token = await client.refresh_token(token["refresh_token"])
    await client.revoke_token(token["refresh_token"], "refresh_token")
    return "refreshes expired" if token.is_expired() else "works"


print(asyncio.run(main()))
