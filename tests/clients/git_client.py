# `git credential fill` with git-credential-oauth, configured as its README has it for a host of one's own. It opens the URL with
# the command `open`, and waits until that exits.
import os, subprocess, tempfile

issuer = os.environ["ISSUER"]
settings = {
    "oauthClientId": os.environ["CLIENT_ID"],
    "oauthScopes": "profile",
    "oauthAuthURL": "/authorize",
    "oauthTokenURL": "/token",
}
with tempfile.TemporaryDirectory() as home:
    env = os.environ | {"HOME": home, "XDG_CONFIG_HOME": home, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}

    def git(*arguments, **more):
        done = subprocess.run(["git", *arguments], env=env, stdout=subprocess.PIPE, text=True, check=True, timeout=30, **more)
        return done.stdout

    git("config", "--global", "credential.helper", "oauth")
    for name, value in settings.items():
        git("config", "--global", f"credential.{issuer}.{name}", value)
    filled = git("credential", "fill", input=f"url={issuer}/repository.git\n\n")
    credential = dict(line.split("=", 1) for line in filled.splitlines())
    # The token is a JWT.
    print("works" if credential["password"].count(".") == 2 else "no token")
