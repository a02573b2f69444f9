# PyPI's Authlib against the token endpoint. The test in tests/it/real_clients starts it, tells it in SERVER what it must know,
# reads what it saw, and is its browser.
import json
import os
from urllib.parse import quote_plus

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2 import rfc8414, rfc9207
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import ECKey, KeySet

server = json.loads(os.environ["SERVER"])
issuer = server["issuer"]


def saw(what):
    print(what, flush=True)


def browse(url):
    print("browse", url, flush=True)
    return input()


http = requests.Session()
http.trust_env = False

url = rfc8414.get_well_known_url(issuer, external=True)
metadata = rfc8414.AuthorizationServerMetadata(http.get(url).json())
metadata.validate(metadata_classes=[rfc9207.AuthorizationServerMetadata])
assert metadata["issuer"] == issuer
assert metadata["authorization_response_iss_parameter_supported"] is True
token_endpoint = metadata["token_endpoint"]
saw("discovery")


def client(id, secret=None, way=None, **settings):
    ways = dict(token_endpoint_auth_method=way, revocation_endpoint_auth_method=way)
    session = OAuth2Session(id, secret, **ways, **settings)
    session.trust_env = False
    return session


def ask(session, **wanted):
    wanted = dict(grant_type="client_credentials", scope="read", resource=server["api"]) | wanted
    return session.fetch_token(token_endpoint, **wanted)


def refused(question):
    """The error that the server told."""
    try:
        question()
    except OAuthError as error:
        assert error.description
        return error.error
    raise AssertionError("it was not refused")


def check(token):
    assert token["token_type"] == "Bearer" and token["scope"] == "read" and token["expires_in"] > 0, token
    assert not token.is_expired() and "refresh_token" not in token


ways = "client_secret_basic", "client_secret_post"
for way in ways:
    check(ask(client("reports", "reports-secret", way)))
    saw(f"client_credentials by {way}: reports")
# It does not encode what it puts into Basic (RFC 6749 §2.3.1): what a form means otherwise is misunderstood. Its user can.
check(ask(client(*server["plain"], "client_secret_basic")))
saw("client_credentials by client_secret_basic: a plain one")
odd = server["odd"]
saw(f"client_credentials by client_secret_basic: an odd one: {refused(lambda: ask(client(*odd)))}")
check(ask(client(*map(quote_plus, odd))))
saw("client_credentials by client_secret_basic: an odd one, encoded by hand")
check(ask(client(*odd, "client_secret_post")))
saw("client_credentials by client_secret_post: an odd one")

key = ECKey.import_key(server["key"])
header = {"kid": server["kid"]}


def signs(key=key, audience=issuer):
    session = client("signs", key, "private_key_jwt")
    # Its `aud` is the token endpoint's URL (RFC 7523 §3) where it is not told the issuer (draft-ietf-oauth-rfc7523bis).
    session.register_client_auth_method(PrivateKeyJWT(audience, headers=dict(header), alg="ES256"))
    return session


token = ask(signs())
check(token)
saw("client_credentials by private_key_jwt")
try:
    check(ask(signs(audience=None)))
    saw("client_credentials by private_key_jwt for the token endpoint: a token")
except OAuthError as error:
    saw(f"client_credentials by private_key_jwt for the token endpoint: {error.error}")


class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return KeySet.import_key_set(http.get(metadata["jwks_uri"]).json())


def verify(jwt):
    claims = Validator(issuer, server["api"]).authenticate_token(jwt)
    claims.validate()
    return claims


def is_for(jwt, subject, client_id, scope):
    claims = verify(jwt)
    assert (claims["sub"], claims["client_id"], claims["scope"]) == (subject, client_id, scope), claims


is_for(token["access_token"], "signs", "signs", "read")
try:
    verify(token["access_token"][:-8] + "AAAAAAAA").validate()
except Exception as error:
    assert getattr(error, "error", "") == "invalid_token", repr(error)
else:
    raise AssertionError("it takes a bent token")
saw("the JWT is true, by the key set")

reports = client("reports", "reports-secret")


def introspect(token):
    answer = reports.introspect_token(metadata["introspection_endpoint"], token, "access_token")
    assert answer.status_code == 200
    return answer.json()


def is_active(token):
    return introspect(token["access_token"])["active"]


def revoke(session, token, hint):
    answer = session.revoke_token(metadata["revocation_endpoint"], token, hint)
    assert answer.status_code == 200 and answer.json() == {}, answer.text


opaque = ask(reports, resource=server["opaque"])
told = introspect(opaque["access_token"])
names = "active", "iss", "sub", "client_id", "aud", "scope"
assert [told[name] for name in names] == [True, issuer, "reports", "reports", server["opaque"], "read"], told
saw("introspection: active")
revoke(reports, opaque["access_token"], "access_token")
revoke(reports, "nobody's", None)
assert introspect(opaque["access_token"]) == {"active": False}
saw("revocation, and introspection: not active")

for way in ways:
    saw(f"a wrong secret by {way}: {refused(lambda: ask(client('reports', 'wrong', way)))}")
saw(f"a wrong key: {refused(lambda: ask(signs(ECKey.generate_key('P-256'))))}")
saw(f"a wrong scope: {refused(lambda: ask(reports, scope='admin'))}")
saw(f"a wrong resource: {refused(lambda: ask(reports, resource='https://other.test'))}")
saw(f"a grant that the client may not use: {refused(lambda: reports.refresh_token(token_endpoint, 'any'))}")


def approved(session):
    """The answer to a request for a code, and what belongs to it."""
    verifier = generate_token(48)
    wanted = dict(scope="read write", resource=server["api"], code_verifier=verifier)
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], **wanted)
    answer = browse(url)
    told = dict(requests.utils.unquote(pair).split("=", 1) for pair in answer.split("?", 1)[1].split("&"))
    assert told["iss"] == issuer, answer  # the library does not look
    return dict(authorization_response=answer, state=state, code_verifier=verifier)


users = {"web": ("web-secret", server["callback_with_query"]), "native": (None, server["loopback"])}
for id, (secret, redirect_uri) in users.items():
    session = client(id, secret, None if secret else "none", redirect_uri=redirect_uri, code_challenge_method="S256")

    def redeem(answer):
        return session.fetch_token(token_endpoint, grant_type="authorization_code", **answer)

    def refresh(token):
        return session.refresh_token(token_endpoint, token["refresh_token"])

    first = redeem(approved(session))
    saw(f"{id}: a code, with state and iss")
    is_for(first["access_token"], "ada", id, "read write")
    saw(f"{id}: the JWT is Ada's")
    second = refresh(first)
    assert second["refresh_token"] != first["refresh_token"]
    third = refresh(second)
    assert is_active(third)
    saw(f"{id}: refreshed")
    saw(f"{id}: the old refresh token: {refused(lambda: refresh(first))}")
    saw(f"{id}: the family is over: {refused(lambda: refresh(third))}")
    assert not is_active(third)

    answer = approved(session) | dict(code_verifier=generate_token(48))
    saw(f"{id}: a wrong verifier: {refused(lambda: redeem(answer))}")

    answer = approved(session)
    given = redeem(answer)
    assert is_active(given)
    saw(f"{id}: a replayed code: {refused(lambda: redeem(answer))}")
    assert not is_active(given)
    refused(lambda: refresh(given))
    saw(f"{id}: what it gave is over")

    returned = redeem(approved(session))
    revoke(session, returned["refresh_token"], "refresh_token")
    assert not is_active(returned)
    saw(f"{id}: a refresh token given back: {refused(lambda: refresh(returned))}")
