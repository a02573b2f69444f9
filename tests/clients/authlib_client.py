# PyPI's Authlib as a client of the token endpoint. The test in tests/it/interop/real_clients starts this script, passes the
# settings in the variable SERVER, reads the printed results, and acts as the browser.
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


def report(result):
    print(result, flush=True)


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
report("discovery")


def client(id, secret=None, way=None, **settings):
    ways = dict(token_endpoint_auth_method=way, revocation_endpoint_auth_method=way)
    session = OAuth2Session(id, secret, **ways, **settings)
    session.trust_env = False
    return session


def ask(session, **wanted):
    wanted = dict(grant_type="client_credentials", scope="read", resource=server["api"]) | wanted
    return session.fetch_token(token_endpoint, **wanted)


def refused(request):
    """Returns the error that the server sent."""
    try:
        request()
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
    report(f"client_credentials by {way}: reports")
# The library does not form-encode id and secret for Basic (RFC 6749 §2.3.1), so special characters arrive changed. Its user can
# encode them.
check(ask(client(*server["plain"], "client_secret_basic")))
report("client_credentials by client_secret_basic: no encoding needed")
odd = server["odd"]
report(f"client_credentials by client_secret_basic: special characters: {refused(lambda: ask(client(*odd)))}")
check(ask(client(*map(quote_plus, odd))))
report("client_credentials by client_secret_basic: special characters, encoded by hand")
check(ask(client(*odd, "client_secret_post")))
report("client_credentials by client_secret_post: special characters")

key = ECKey.import_key(server["key"])
header = {"kid": server["kid"]}


def signs(key=key, audience=issuer):
    session = client("signs", key, "private_key_jwt")
    # Without an audience the library uses the token endpoint's URL (RFC 7523 §3), not the issuer (draft-ietf-oauth-rfc7523bis).
    session.register_client_auth_method(PrivateKeyJWT(audience, headers=dict(header), alg="ES256"))
    return session


token = ask(signs())
check(token)
report("client_credentials by private_key_jwt")
try:
    check(ask(signs(audience=None)))
    report("client_credentials by private_key_jwt for the token endpoint: a token")
except OAuthError as error:
    report(f"client_credentials by private_key_jwt for the token endpoint: {error.error}")


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
    raise AssertionError("a forged token was accepted")
report("the key set verifies the JWT")

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
facts = introspect(opaque["access_token"])
names = "active", "iss", "sub", "client_id", "aud", "scope"
assert [facts[name] for name in names] == [True, issuer, "reports", "reports", server["opaque"], "read"], facts
report("introspection: active")
revoke(reports, opaque["access_token"], "access_token")
revoke(reports, "unknown", None)
assert introspect(opaque["access_token"]) == {"active": False}
report("revocation, then introspection: inactive")

for way in ways:
    report(f"a wrong secret by {way}: {refused(lambda: ask(client('reports', 'wrong', way)))}")
report(f"a wrong key: {refused(lambda: ask(signs(ECKey.generate_key('P-256'))))}")
report(f"a wrong scope: {refused(lambda: ask(reports, scope='admin'))}")
report(f"a wrong resource: {refused(lambda: ask(reports, resource='https://other.test'))}")
report(f"a grant that the client may not use: {refused(lambda: reports.refresh_token(token_endpoint, 'any'))}")


def approved(session):
    """Requests a code; returns the response and the values that the client checks it with."""
    verifier = generate_token(48)
    wanted = dict(scope="read write", resource=server["api"], code_verifier=verifier)
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], **wanted)
    answer = browse(url)
    parameters = dict(requests.utils.unquote(pair).split("=", 1) for pair in answer.split("?", 1)[1].split("&"))
    assert parameters["iss"] == issuer, answer  # the library does not check it
    return dict(authorization_response=answer, state=state, code_verifier=verifier)


users = {"web": ("web-secret", server["callback_with_query"]), "native": (None, server["loopback"])}
for id, (secret, redirect_uri) in users.items():
    session = client(id, secret, None if secret else "none", redirect_uri=redirect_uri, code_challenge_method="S256")

    def redeem(answer):
        return session.fetch_token(token_endpoint, grant_type="authorization_code", **answer)

    def refresh(token):
        return session.refresh_token(token_endpoint, token["refresh_token"])

    first = redeem(approved(session))
    report(f"{id}: a code, with state and iss")
    is_for(first["access_token"], "ada", id, "read write")
    report(f"{id}: the JWT is Ada's")
    second = refresh(first)
    third = refresh(second)
    assert is_active(third)
    report(f"{id}: refreshed")
    # Only the refresh tokens of public clients rotate (RFC 9700 §2.2.2).
    assert (second["refresh_token"] != first["refresh_token"]) == (id == "native")
    if id == "native":
        report(f"{id}: an old refresh token: {refused(lambda: refresh(first))}")
        report(f"{id}: the session has ended: {refused(lambda: refresh(third))}")
        assert not is_active(third)

    answer = approved(session) | dict(code_verifier=generate_token(48))
    report(f"{id}: a wrong verifier: {refused(lambda: redeem(answer))}")

    answer = approved(session)
    given = redeem(answer)
    assert is_active(given)
    report(f"{id}: a replayed code: {refused(lambda: redeem(answer))}")
    assert not is_active(given)
    refused(lambda: refresh(given))
    report(f"{id}: its tokens are revoked")

    returned = redeem(approved(session))
    revoke(session, returned["refresh_token"], "refresh_token")
    assert not is_active(returned)
    report(f"{id}: a revoked refresh token: {refused(lambda: refresh(returned))}")
