// Debian's golang.org/x/oauth2, as the examples of its documentation have it. It prints the URL, and reads the code, as they do.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	ctx, issuer := context.Background(), os.Getenv("ISSUER")

	job := clientcredentials.Config{ClientID: "job", ClientSecret: "a secret", TokenURL: issuer + "/token", Scopes: []string{"read"}}
	if token, err := job.Token(ctx); err != nil || !token.Valid() {
		log.Fatal(err)
	}

	conf := &oauth2.Config{
		ClientID:     os.Getenv("CLIENT_ID"),
		ClientSecret: "a secret",
		RedirectURL:  "http://127.0.0.1:3000/callback",
		Scopes:       []string{"profile"},
		Endpoint:     oauth2.Endpoint{AuthURL: issuer + "/authorize", TokenURL: issuer + "/token"},
	}
	fmt.Println(conf.AuthCodeURL("state", oauth2.AccessTypeOffline))
	var code string
	if _, err := fmt.Scan(&code); err != nil {
		log.Fatal(err)
	}
	token, err := conf.Exchange(ctx, code)
	if err != nil {
		log.Fatal(err)
	}
	token.Expiry = time.Now().Add(-time.Hour) // so that its client refreshes
	refreshed, err := conf.TokenSource(ctx, token).Token()
	if err != nil || refreshed.AccessToken == token.AccessToken {
		log.Fatal("not refreshed ", err)
	}
	fmt.Println("works")
}
