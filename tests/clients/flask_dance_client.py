# PyPI's Flask-Dance with a provider of its own, as its documentation "Custom Providers" has it.
import logging, os, threading

from browser import browse

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback

from flask import Flask, redirect, url_for
from flask_dance.consumer import OAuth2ConsumerBlueprint, oauth_error
from werkzeug.serving import make_server

issuer = os.environ["ISSUER"]
logging.getLogger("werkzeug").disabled = True
app = Flask(__name__)
app.secret_key = "supersekrit"
blueprint = OAuth2ConsumerBlueprint(
    "example",
    __name__,
    client_id=os.environ["CLIENT_ID"],
    client_secret="a secret",
    scope="profile",
    token_url=f"{issuer}/token",
    authorization_url=f"{issuer}/authorize",
    **(dict(use_pkce=True) if os.environ.get("PKCE") else {}),
)
app.register_blueprint(blueprint, url_prefix="/login")
refusals = []


@oauth_error.connect_via(blueprint)
def refused(blueprint, error, error_description=None, error_uri=None, **rest):
    refusals.append(error_description or error)


@app.route("/")
def index():
    if refusals:
        return f"refused: {refusals[0]}"
    if not blueprint.session.authorized:
        return redirect(url_for("example.login"))
    return "works" if blueprint.token["access_token"] and blueprint.token["refresh_token"] else "no token"


server = make_server("127.0.0.1", 0, app)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(browse(f"http://127.0.0.1:{server.port}/"))
