//! Every store behaves as the endpoint requires.

use tower_oauth::testing::store_conformance;
use tower_oauth::token_endpoint::{
    AccessRecord, CodeRecord, CodeTaken, Family, MemoryStore, NewAccess, Rotated, Successor, TokenHash,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_conforms() {
    let store = MemoryStore::new();
    store_conformance(async || store.clone()).await;
}

#[tokio::test]
async fn the_memory_store_behaves_like_any_store() {
    super::any_store::behaves_like_any_store(&MemoryStore::new()).await;
}

#[tokio::test]
async fn expired_entries_make_room_in_memory() {
    // Each run leaves about two hundred entries, which expire within an hour and a half.
    let store = MemoryStore::builder().capacity(1000).build();
    store_conformance(async || store.clone()).await;
}

/// Records in the form in which this version and all earlier ones store them.
#[test]
fn stored_records_are_read_and_an_unknown_member_is_an_error() {
    let family = r#"{"id":"1","client_id":"app","credential":"","subject":"ada","scope":"a b","audiences":["https://x.test"],"auth_time":null,"expires_at":9}"#;
    let access = r#"{"id":"2","family":null,"client_id":"job","credential":"c","subject":"job","scope":"","audience":"https://x.test","auth_time":5,"issued_at":1,"expires_at":9}"#;
    assert_eq!(serde_json::to_string(&serde_json::from_str::<Family>(family).unwrap()).unwrap(), family);
    assert_eq!(serde_json::to_string(&serde_json::from_str::<AccessRecord>(access).unwrap()).unwrap(), access);
    let bound = |text: &str| text.replace('}', r#","cnf":{"jkt":"x"}}"#);
    assert!(serde_json::from_str::<Family>(&bound(family)).is_err());
    assert!(serde_json::from_str::<AccessRecord>(&bound(access)).is_err());
}

#[test]
fn debug_of_store_records_shows_no_claims_and_no_salt() {
    let family = Family {
        id: "shy-id".into(),
        client_id: "native".into(),
        credential: "shy-credential".into(),
        subject: "shy-subject".into(),
        scope: "shy-scope".into(),
        audiences: vec!["shy-audience".into()],
        auth_time: Some(7_777_777),
        expires_at: 1,
    };
    let record = AccessRecord {
        id: "shy-jti".into(),
        family: Some("shy-id".into()),
        client_id: "native".into(),
        credential: "shy-credential".into(),
        subject: "shy-subject".into(),
        scope: "shy-scope".into(),
        audience: "shy-audience".into(),
        auth_time: Some(7_777_777),
        issued_at: 1,
        expires_at: 1,
    };
    let hash = TokenHash::of("shy-token");
    let code = CodeRecord { binding: hash, family: family.clone(), expires_at: 1 };
    let again = Rotated::Again { family: family.clone(), salt: [77; 32] };
    let next = Successor { hash, salt: [77; 32], expires_at: 1 };
    let shown = [
        format!("{code:?} {:?} {again:?} {next:?}", CodeTaken::First(family)),
        format!("{:?}", NewAccess { hash, record }),
    ];
    for shown in shown {
        assert!(shown.contains("native"), "{shown}");
        for secret in ["shy", "7777", "77, 77"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}
