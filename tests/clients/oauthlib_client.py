# PyPI's requests-oauthlib, as its documentation "OAuth 2 Workflow" has it: a web application, and a backend application.
import os

from browser import browse

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback

from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session

issuer, client_id, client_secret = os.environ["ISSUER"], os.environ["CLIENT_ID"], "a secret"

backend = OAuth2Session(client=BackendApplicationClient(client_id="job"))
token = backend.fetch_token(token_url=f"{issuer}/token", client_id="job", client_secret="a secret")
assert token["access_token"] and token["scope"] == ["read"], token

redirect_uri = "http://127.0.0.1:3000/callback"
pkce = dict(pkce="S256") if os.environ.get("PKCE") else {}
oauth = OAuth2Session(client_id, redirect_uri=redirect_uri, scope=["profile"], **pkce)
authorization_url, state = oauth.authorization_url(f"{issuer}/authorize")
answer = browse(authorization_url, redirect_uri)
try:
    token = oauth.fetch_token(f"{issuer}/token", authorization_response=answer, client_secret=client_secret)
    extra = dict(client_id=client_id, client_secret=client_secret)
    token = oauth.refresh_token(f"{issuer}/token", token["refresh_token"], **extra)
    print("works" if token["access_token"] else "no token")
except OAuth2Error as error:
    print(f"refused: {error.description}")
