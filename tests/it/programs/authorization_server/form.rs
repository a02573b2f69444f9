//! The form for login and consent: what the page shows, and which forms the server accepts.

use super::{Folder, ODD_CLIENTS, PASSWORD, Server};
use crate::support::Answer;

/// A request for a code of the client `web`. Nothing listens on port 9.
pub(super) const PAGE: &str = "/authorize?response_type=code&client_id=web&redirect_uri=http://127.0.0.1:9/cb&state=a%20%26b\
    &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

/// The form of the page in one browser, filled in by Ada.
#[derive(Clone)]
pub(super) struct Form {
    path: String,
    headers: Vec<(&'static str, String)>,
    fields: Vec<(&'static str, String)>,
}

impl Form {
    /// Opens the page in a browser without cookies. Returns the page, too.
    pub(super) async fn open(server: &Server, path: &str) -> (Self, Answer) {
        let page = server.get(path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let cookie = page.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let csrf = page.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let fields = [("answer", "allow"), ("csrf", csrf), ("name", "ada"), ("password", PASSWORD)];
        let fields = fields.map(|(name, value)| (name, value.to_owned())).into();
        (Self { path: path.to_owned(), headers: vec![("cookie", cookie)], fields }, page)
    }

    /// Returns this form with another value in a field.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.retain(|field| field.0 != name);
        self.fields.push((name, value.to_owned()));
        self
    }

    fn at(mut self, path: String) -> Self {
        self.path = path;
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without_cookie(mut self) -> Self {
        self.headers.clear();
        self
    }

    fn with_cookie_of(mut self, other: &Self) -> Self {
        self.headers.clone_from(&other.headers);
        self
    }

    pub(super) async fn post(&self, server: &Server) -> Answer {
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (*name, &**value)).collect();
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, &**value)).collect();
        server.post(&self.path, &headers, &fields).await
    }

    /// Posts the form, which must be refused with this status and text.
    async fn is_refused(&self, server: &Server, status: u16, text: &str) -> Answer {
        let answer = self.post(server).await;
        assert!(answer.status == status && answer.body.contains(text), "{answer:?}");
        assert_eq!(answer.header("location"), None);
        answer
    }

    /// Posts the form. Returns the URL of the redirect.
    pub(super) async fn redirects(&self, server: &Server) -> String {
        let answer = self.post(server).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.header("location").unwrap().to_owned()
    }
}

const OUT_OF_DATE: &str = "This form was out of date";

#[tokio::test]
async fn the_page_escapes_what_it_shows_and_no_other_page_may_frame_it() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let (_, page) = Form::open(&server, PAGE).await;
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.ends_with("HttpOnly; SameSite=Lax; Path=/"), "{cookie}");
    for part in [
        "<html lang=\"en\">",
        "Reports &lt;b&gt;&amp;amp; &quot;Söhne&quot;&lt;/b&gt;",
        "<li>https://api.test/a?b=&lt;c&gt;&amp;d</li>",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    for part in ["<script", " src=", "href="] {
        assert!(!page.body.contains(part), "the page loads something: {}", page.body);
    }
}

#[tokio::test]
async fn only_a_form_of_this_server_for_this_request_and_this_browser_is_accepted() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let (form, _) = Form::open(&server, PAGE).await;
    let (other, _) = Form::open(&server, PAGE).await;
    for refused in [
        form.clone().with("csrf", ""),
        form.clone().without_cookie(),
        form.clone().with_cookie_of(&other),
        form.clone().with_cookie_of(&other).with("answer", "deny"),
        form.clone().header("sec-fetch-site", "cross-site"),
        form.clone().at(format!("{PAGE}&scope=profile")),
    ] {
        refused.is_refused(&server, 403, OUT_OF_DATE).await;
    }
    form.clone().with("answer", "").is_refused(&server, 400, "Please choose Allow or Deny.").await;
    let location = form.clone().header("sec-fetch-site", "same-origin").redirects(&server).await;
    assert!(location.starts_with("http://127.0.0.1:9/cb?code="), "{location}");
    assert!(location.contains("&state=a+%26b&iss=http%3A%2F%2F127.0.0.1%3A"), "{location}");
    let location = form.with("answer", "deny").redirects(&server).await;
    assert!(location.starts_with("http://127.0.0.1:9/cb?error=access_denied&"), "{location}");
    assert!(!server.log().contains(PASSWORD), "{}", server.log());
}

#[tokio::test]
async fn the_page_escapes_the_typed_name_and_shows_none_that_another_site_sent() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let (form, _) = Form::open(&server, PAGE).await;
    let escaped = "value=\"&quot;&gt;&lt;b&gt;&amp;\"";
    form.clone().with("name", "\"><b>&").is_refused(&server, 403, escaped).await;
    let answer = form.with("csrf", "").with("name", "mallory").is_refused(&server, 403, OUT_OF_DATE).await;
    assert!(!answer.body.contains("mallory"), "{answer:?}");
}

#[tokio::test]
async fn an_unregistered_redirect_uri_gets_a_page_and_every_other_error_a_redirect() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let answer = server.get("/authorize?client_id=%3Cb%3E").await;
    assert!(answer.status == 400 && answer.body.contains("The client is unknown"), "{answer:?}");
    assert!(answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"), "{answer:?}");
    // The client id occurs twice.
    assert_eq!(server.get(&format!("{PAGE}&client_id=web")).await.status, 400);
    let answer = server.get(&PAGE.replace("http://127.0.0.1:9/cb", "http://127.0.0.1:9/other")).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (400, None), "{answer:?}");
    let answer = server.get(&PAGE.replace("S256", "plain")).await;
    let location = answer.header("location").unwrap_or_default();
    assert!(answer.status == 303 && location.starts_with("http://127.0.0.1:9/cb?error=invalid_request&"), "{answer:?}");
}

#[tokio::test]
async fn after_ten_wrong_passwords_a_name_must_wait_whether_it_is_known_or_not() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let Some(server) = Server::of_odd_clients(&folder, &[]).await else { return };
    let (form, _) = Form::open(&server, PAGE).await;
    for name in ["unknown", "bob"] {
        let guess = form.clone().with("name", name).with("password", "wrong");
        for _ in 0..10 {
            guess.is_refused(&server, 403, "<strong>Error:</strong> Name or password is wrong.").await;
        }
        let answer = guess.is_refused(&server, 429, "Too many attempts").await;
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    form.clone().with("name", "bob").with("password", "right").is_refused(&server, 429, "Too many attempts").await;
    form.redirects(&server).await;
    assert!(!server.log().contains(PASSWORD), "{}", server.log());
}

#[tokio::test]
async fn behind_a_proxy_with_tls_and_a_path_the_cookie_is_secure() {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let settings = [("ISSUER", "https://as.test/one")];
    let Some(server) = Server::of_odd_clients(&folder, &settings).await else { return };
    let (_, page) = Form::open(&server, &format!("/one{PAGE}")).await;
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-authorize="), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"), "{cookie}");
    let metadata = server.get("/.well-known/oauth-authorization-server/one").await;
    let endpoint = r#""authorization_endpoint":"https://as.test/one/authorize""#;
    assert!(metadata.status == 200 && metadata.body.contains(endpoint), "{metadata:?}");
    server.stop("TERM").await;
}
