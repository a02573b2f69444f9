# Starts the program of tests/clients/yup, which its argument names, and acts as its user: opens the URL that it prints.
import json, os, pathlib, re, subprocess, sys, tempfile
from urllib.parse import parse_qs, urlsplit

from browser import browse

issuer = os.environ["ISSUER"]
settings = {
    "client_id": os.environ["CLIENT_ID"],
    "client_secret": "a secret",
    "auth_uri": f"{issuer}/authorize",
    "token_uri": f"{issuer}/token",
    "redirect_uris": ["http://localhost"],
}
with tempfile.TemporaryDirectory() as folder:
    secret = pathlib.Path(folder, "clientsecret.json")
    secret.write_text(json.dumps({"installed": settings}))
    program = subprocess.Popen([*sys.argv[1:], secret], stdout=subprocess.PIPE, text=True)
    url = re.search(r"http\S+", program.stdout.readline())[0]
    callback = browse(url, "http://localhost:")
    answer = parse_qs(urlsplit(callback).query)
    if "code" in answer:
        browse(callback)
        print(program.communicate(timeout=20)[0].strip())
    else:
        program.kill()
        print("refused:", answer.get("error_description", [callback])[0])
