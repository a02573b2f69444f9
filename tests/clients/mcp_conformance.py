# The conformance tests of the Model Context Protocol for authorization servers. Opens the URL that they print. Prints the
# results of all checks, and `works` if none of them failed or warned.
import json, os, pathlib, socket, subprocess, sys, tempfile

from browser import browse

with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
command = [*sys.argv[1:], "--url", os.environ["ISSUER"], "--client-id", os.environ["CLIENT_ID"], "--port", port]
folder = tempfile.TemporaryDirectory()
command += ["--output-dir", folder.name]
tests = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
output, url = "", None
for line in tests.stdout:
    output += line
    if "/authorize?" in line and line.startswith("http"):
        url = line.strip()
    if url and "Callback server started" in line:
        browse(url)
status = tests.wait(timeout=10)
print(output)
checks = [check for file in pathlib.Path(folder.name).rglob("checks.json") for check in json.loads(file.read_text())]
bad = [f"{check['id']}: {check.get('errorMessage')}" for check in checks if check["status"] not in ("SUCCESS", "INFO")]
print("works" if status == 0 and checks and not bad else "refused: " + "; ".join(bad))
