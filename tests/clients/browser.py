#!/usr/bin/env python3
"""A browser without scripts for the tests: opens a page, follows redirects, and logs Ada in at the page of the server.

    browser.py URL [CALLBACK]

Prints the last page. If a redirect leads to a URL that begins with CALLBACK, prints that URL instead and does not open it.
"""

import html.parser, http.cookiejar, sys, urllib.error, urllib.parse, urllib.request


class Form(html.parser.HTMLParser):
    """The hidden fields and the first button of the server's form."""

    def __init__(self, page):
        super().__init__()
        self.fields = {}
        self.has_password = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.has_password |= attributes.get("type") == "password"
        if tag in ("input", "button") and "name" in attributes:
            self.fields.setdefault(attributes["name"], attributes.get("value", ""))


class Redirects(urllib.request.HTTPRedirectHandler):
    callback = None

    def redirect_request(self, request, answer, code, message, headers, url):
        if self.callback and url.startswith(self.callback):
            raise Reached(url)
        return super().redirect_request(request, answer, code, message, headers, url)


class Reached(Exception):
    pass


def browse(url, callback=None):
    """Returns the last page, or the URL of the callback."""
    redirects = Redirects()
    redirects.callback = callback
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), redirects, cookies)

    def open(url, form=None):
        try:
            with opener.open(url, form, timeout=10) as answer:
                return answer.geturl(), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.geturl(), error.read().decode()

    try:
        url, page = open(url)
        form = Form(page)
        if form.has_password:
            fields = form.fields | {"name": "ada", "password": "correct horse"}
            url, page = open(url, urllib.parse.urlencode(fields).encode())
        return page
    except Reached as reached:
        return str(reached)


if __name__ == "__main__":
    print(browse(*sys.argv[1:]))
