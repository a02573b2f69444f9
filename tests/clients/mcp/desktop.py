# What the clients take for the desktop's browser: logs Ada in and opens the client's callback, for which it waits.
import sys, time, urllib.error, urllib.parse, urllib.request

sys.path.insert(0, __file__.rsplit("/", 2)[0])
from browser import browse

page = sys.argv[1]
callback = urllib.parse.parse_qs(urllib.parse.urlsplit(page).query)["redirect_uri"][0]
answer = browse(page, callback)
for _ in range(100):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(answer, timeout=10)
        break
    except (urllib.error.URLError, ConnectionError) as error:
        if isinstance(error, urllib.error.HTTPError):
            break
        time.sleep(0.1)
