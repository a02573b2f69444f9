//! The installed flow, as the first example of yup-oauth2's documentation has it, and a refresh. The argument is the file with the
//! client's settings.

use std::{env, path::PathBuf};

use yup_oauth2::{InstalledFlowAuthenticator, InstalledFlowReturnMethod};

#[tokio::main]
async fn main() {
    let file = PathBuf::from(env::args_os().nth(1).expect("the file with the client's settings"));
    let secret = yup_oauth2::read_application_secret(&file).await.expect("clientsecret.json");
    let auth = InstalledFlowAuthenticator::builder(secret, InstalledFlowReturnMethod::HTTPRedirect)
        .persist_tokens_to_disk(file.with_file_name("tokencache.json"))
        .build()
        .await
        .unwrap();
    let scopes = &["profile"];
    let first = auth.token(scopes).await.unwrap();
    let second = auth.force_refreshed_token(scopes).await.unwrap();
    let is_refreshed = first.token().is_some() && second.token().is_some() && first.token() != second.token();
    println!("{}", if is_refreshed { "works" } else { "no token" });
}
