# The conformance tests of the Model Context Protocol for authorization servers. Opens the URL that they print. Prints the
# results of all checks, and `works` if none of them failed or warned.
import os, re, subprocess, sys

from browser import browse

command = [*sys.argv[1:], "--url", os.environ["ISSUER"], "--client-id", os.environ["CLIENT_ID"], "--port", "3000"]
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
bad = re.findall(r"^.*(?:FAILURE|WARNING|✗).*$", output, re.MULTILINE)
print("works" if status == 0 and not bad else "refused: " + "; ".join(bad))
