//! The commands of an operator.

use super::{Folder, run};

#[tokio::test]
async fn help_names_every_command() {
    let folder = Folder::new();
    let Some((status, text, _)) = run(&folder, &[], &["--help"]).await else { return };
    assert_eq!(status, 0);
    for command in ["sessions list", "sessions end ID", "--subject", "--client", "keys list", "keys withdraw"] {
        assert!(text.contains(command), "{text}");
    }
}

#[tokio::test]
async fn wrong_arguments_and_a_store_in_memory_end_with_status_2() {
    let folder = Folder::new();
    for wrong in [&["serve"][..], &["sessions"], &["sessions", "end", "no id"], &["keys", "withdraw"], &["-h"]] {
        let Some((status, text, errors)) = run(&folder, &[("STORE", "redis://127.0.0.1:1")], wrong).await else {
            return;
        };
        assert!(status == 2 && text.is_empty() && errors.contains("Usage:"), "{wrong:?}: {errors}");
    }
    for settings in [&[][..], &[("STORE", "memory")]] {
        let (status, text, errors) = run(&folder, settings, &["keys", "list"]).await.unwrap();
        assert!(status == 2 && text.is_empty() && errors.contains("no other process can read"), "{errors}");
    }
    let (status, _, errors) = run(&folder, &[("STORE", "mysql://secret@db")], &["keys", "list"]).await.unwrap();
    assert!(status == 2 && errors.contains("STORE: ") && !errors.contains("secret"), "{errors}");
}

#[cfg(feature = "redis")]
mod with_redis {
    use std::time::Duration;

    use super::super::{AUTHORIZE, CALLBACK, Folder, Server, VERIFIER, http, run};
    use crate::servers::redis::RedisServer;

    /// Logs Ada in, and returns the refresh token.
    async fn session(server: &Server) -> String {
        let url = server.url(AUTHORIZE);
        let page = http().get(&url).send().await.unwrap();
        let cookie = page.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let page = page.text().await.unwrap();
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let form = format!("csrf={csrf}&name=ada&password=correct+horse&answer=allow");
        let request = http().post(&url).header("cookie", cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let response = request.send().await.unwrap();
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let (_, query) = location.split_once('?').unwrap();
        let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code").unwrap().1.into_owned();
        let (grant, client) = (("grant_type", "authorization_code"), ("client_id", "web"));
        let form = [grant, client, ("code", &code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
        let (status, json) = server.token(&form).await;
        assert_eq!(status, 200, "{json}");
        json["refresh_token"].as_str().unwrap().to_owned()
    }

    async fn is_living(server: &Server, refresh: &str) -> bool {
        let form = [("grant_type", "refresh_token"), ("client_id", "web"), ("refresh_token", refresh)];
        server.token(&form).await.0 == 200
    }

    #[tokio::test]
    async fn sessions_are_listed_and_ended() {
        let folder = Folder::new();
        let Some(redis) = RedisServer::start("the commands for sessions") else { return };
        let settings = [("STORE", &*redis.url())];
        let Some(server) = Server::start(&folder, &settings).await else { return };
        let mut tokens = Vec::new();
        for _ in 0..3 {
            tokens.push(session(&server).await);
        }
        let (status, listed, _) = run(&folder, &settings, &["sessions", "list", "ada"]).await.unwrap();
        let lines: Vec<Vec<_>> = listed.lines().map(|line| line.split('\t').collect()).collect();
        assert!(status == 0 && lines.len() == 3, "{listed}");
        for line in &lines {
            assert_eq!((line[1], line[4], line[5]), ("web", "read write", "https://api.test"), "{listed}");
            assert!(line[2].starts_with("20") && line[2].ends_with('Z') && line[2].len() == 20, "{listed}");
        }
        let id = lines[0][0];
        let ended = run(&folder, &settings, &["sessions", "end", id]).await.unwrap();
        assert_eq!((ended.0, ended.1), (0, format!("ended {id}\n")));
        let (_, listed, _) = run(&folder, &settings, &["sessions", "list", "ada"]).await.unwrap();
        assert!(listed.lines().count() == 2 && !listed.contains(id), "{listed}");
        let ended = run(&folder, &settings, &["sessions", "end", "--subject", "ada"]).await.unwrap();
        assert_eq!((ended.0, &*ended.1), (0, "ended 2\n"));
        for token in &tokens {
            assert!(!is_living(&server, token).await);
        }
        let last = session(&server).await;
        assert!(is_living(&server, &last).await);
        let ended = run(&folder, &settings, &["sessions", "end", "--client", "web"]).await.unwrap();
        assert_eq!((ended.0, &*ended.1), (0, "ended 1\n"));
        assert!(!is_living(&server, &last).await);
    }

    #[tokio::test]
    async fn a_key_is_listed_and_withdrawn() {
        let folder = Folder::new();
        folder.add_key("1.pem");
        folder.add_key("2.pem");
        let Some(redis) = RedisServer::start("the commands for keys") else { return };
        let keys = folder.keys();
        let settings = [("STORE", &*redis.url()), ("SIGNING_KEYS", keys.to_str().unwrap())];
        let Some(server) = Server::start(&folder, &settings).await else { return };
        let used = server.signs().await;
        let (status, listed, _) = run(&folder, &settings, &["keys", "list"]).await.unwrap();
        assert!(status == 0 && listed.lines().count() == 2, "{listed}");
        let line = listed.lines().find(|line| line.starts_with(&used)).unwrap();
        assert!(line.ends_with("\tES256"), "{line}");
        let (status, text, _) = run(&folder, &settings, &["keys", "withdraw", &used]).await.unwrap();
        assert_eq!((status, text), (0, format!("withdrawn {used}\n")));
        let mut attempts = 0..200;
        while server.signs().await == used {
            assert!(attempts.next().is_some(), "the withdrawn key signs for more than ten seconds");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!server.published().await.contains(&used));
    }

    #[tokio::test]
    async fn a_store_that_is_down_ends_with_status_1() {
        let folder = Folder::new();
        let settings = [("STORE", "redis://:hush@127.0.0.1:1")];
        let Some((status, text, errors)) = run(&folder, &settings, &["keys", "list"]).await else { return };
        assert!(status == 1 && text.is_empty() && errors.contains("STORE: ") && !errors.contains("hush"), "{errors}");
    }
}
