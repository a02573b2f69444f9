#!/bin/sh
# Debian's git-credential-oauth for a host of one's own, as its README has it: git asks it for a password.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work" GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
host=${ISSUER#http://}
git config --global credential.helper oauth
git config --global web.browser test
git config --global browser.test.cmd "$BROWSER"
git config --global credential."$ISSUER".oauthClientId "$CLIENT_ID"
git config --global credential."$ISSUER".oauthScopes profile
git config --global credential."$ISSUER".oauthAuthURL /authorize
git config --global credential."$ISSUER".oauthTokenURL /token
if printf 'protocol=http\nhost=%s\n\n' "$host" | git credential fill | grep -q '^password=.'; then echo works; fi
