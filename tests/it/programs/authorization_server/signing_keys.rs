//! The folder of signing keys.

use std::{fs, time::Duration};

use super::{Folder, Server, run, write_private};

/// Waits until the key set has this number of keys.
async fn wait_for(server: &Server, number: usize) -> Vec<String> {
    for _ in 0..200 {
        let keys = server.published().await;
        if keys.len() == number {
            return keys;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the key set never had {number} keys");
}

/// Threat T38
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_added_is_published_on_sighup_and_signs_later() {
    let folder = Folder::new();
    folder.add_key("1.pem");
    let keys = folder.keys();
    let settings = [("SIGNING_KEYS", keys.to_str().unwrap())];
    let Some(server) = Server::start(&folder, &settings).await else { return };
    let first = wait_for(&server, 1).await;
    assert_eq!([server.signs().await], *first);
    folder.add_key("2.pem");
    server.signal("HUP").await;
    let both = wait_for(&server, 2).await;
    assert_eq!(both[0], first[0]);
    assert_eq!(server.signs().await, first[0], "the new key is published only now");

    // Neither a wrong file nor a name in the wrong place does any harm.
    write_private(&keys.join("3.pem"), "no key");
    server.signal("HUP").await;
    fs::remove_file(keys.join("3.pem")).unwrap();
    folder.add_key("0.pem");
    server.signal("HUP").await;
    assert_eq!(server.signs().await, first[0]);
    assert_eq!(server.published().await, both);
}

#[tokio::test]
async fn every_wrong_file_is_named_at_the_start() {
    let folder = Folder::new();
    let keys = folder.keys();
    let settings = [("SIGNING_KEYS", keys.to_str().unwrap())];
    let Some((status, _, text)) = run(&folder, &settings, &[]).await else { return };
    assert!(status == 2 && text.contains("SIGNING_KEYS: ") && text.contains("there is no file"), "{text}");

    let pem = folder.add_key("1.pem");
    write_private(&keys.join("2.pem"), &pem);
    write_private(&keys.join("3.pem"), "no key");
    write_private(&keys.join(".hidden"), "no key");
    let (status, _, text) = run(&folder, &settings, &[]).await.unwrap();
    assert_eq!(status, 2);
    assert!(text.contains("\"2.pem\" has the same key as \"1.pem\"") && text.contains("3.pem: "), "{text}");
    assert!(!text.contains("hidden"), "{text}");

    write_private(&keys.join("old.pem~"), &pem);
    let (_, _, text) = run(&folder, &settings, &[]).await.unwrap();
    assert!(text.contains("the name \"old.pem~\" does not end in .pem"), "{text}");
    fs::remove_dir_all(&keys).unwrap();
    let (_, _, text) = run(&folder, &settings, &[]).await.unwrap();
    assert!(text.contains("it cannot be read"), "{text}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_other_users_can_read_is_a_mistake() {
    let folder = Folder::new();
    folder.add_key("1.pem");
    let file = folder.keys().join("1.pem");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let keys = folder.keys();
    let Some((status, _, text)) = run(&folder, &[("SIGNING_KEYS", keys.to_str().unwrap())], &[]).await else { return };
    assert!(status == 2 && text.contains("1.pem: other users may read it"), "{text}");
}

#[tokio::test]
async fn a_file_and_a_folder_of_keys_together_are_a_mistake() {
    let folder = Folder::new();
    folder.add_key("1.pem");
    let keys = folder.keys();
    let file = keys.join("1.pem");
    let settings = [("SIGNING_KEYS", keys.to_str().unwrap()), ("SIGNING_KEY", file.to_str().unwrap())];
    let Some((status, _, text)) = run(&folder, &settings, &[]).await else { return };
    assert!(status == 2 && text.contains("SIGNING_KEYS: SIGNING_KEY is set as well"), "{text}");
}
