# Starts the program of x_oauth2.go, which its argument names, and acts as its user: opens the URL, and pastes the code.
import subprocess, sys
from urllib.parse import parse_qs, urlsplit

from browser import browse

program = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
answer = parse_qs(urlsplit(browse(program.stdout.readline().strip(), "http://127.0.0.1:3000/callback")).query)
if "error" in answer:
    program.kill()
    print("refused:", answer["error_description"][0])
else:
    print(program.communicate(answer["code"][0] + "\n", timeout=10)[0].strip())
