# Prints an access token that differs from a given one only in its times: it expired an hour ago.
#
#     expired.py TOKEN SIGNING_KEY
import pathlib, sys, time

import jwt

token, key = sys.argv[1], pathlib.Path(sys.argv[2]).read_text()
header = jwt.get_unverified_header(token)
claims = jwt.decode(token, options={"verify_signature": False})
now = int(time.time())
print(jwt.encode(claims | {"iat": now - 7200, "exp": now - 3600}, key, header["alg"], header))
