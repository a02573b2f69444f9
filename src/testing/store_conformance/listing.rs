//! The sessions of a subject and of a client are listed.

use super::{
    super::store_requests::{StoreRequests, after},
    Suite, new_text,
};
use crate::token_endpoint::{AddCode, ListSessions, ListedSession, Redeem, Refreshed, SessionId, Store};

impl<S: Store> Suite<S> {
    pub(super) async fn listing(&self) {
        self.a_session_is_listed_from_its_code_to_its_end().await;
        self.lists_have_pages().await;
    }

    async fn list(&self, request: &ListSessions) -> Vec<ListedSession> {
        self.other().list_sessions(request).await.expect("list_sessions")
    }

    /// Checks what is listed for the subject and for the client of a session that is alone there.
    async fn check_listed(&self, requests: &StoreRequests, expected: Option<&ListedSession>) {
        for request in [requests.list_by_subject(), requests.list_by_client()] {
            assert_eq!(self.list(&request).await.first(), expected, "{:?}", request.index);
        }
    }

    async fn a_session_is_listed_from_its_code_to_its_end(&self) {
        let requests = self.requests();
        self.check_listed(&requests, None).await;
        let code = requests.add_code();
        self.add_code(&code).await;
        let at = |seconds| requests.clone().time(after(self.now, seconds));
        let AddCode { session: id, record, .. } = code.clone();
        let pending = ListedSession { id, record, is_redeemed: false, last_used_at: self.now };
        self.check_listed(&at(59), Some(&pending)).await;

        let redeem = at(10).redeem(&code);
        self.redeem(&redeem).await;
        let Redeem { record, now: last_used_at, .. } = redeem.clone();
        let listed = ListedSession { id, record, is_redeemed: true, last_used_at };
        self.check_listed(&at(60), Some(&listed)).await;

        let first = redeem.refresh.expect("the request has one").hash;
        assert_eq!(self.refresh(&at(20).refresh(id, first)).await, Refreshed::Done);
        let listed = ListedSession { last_used_at: after(self.now, 20), ..listed };
        self.check_listed(&at(60), Some(&listed)).await;
        self.check_listed(&self.requests(), None).await;
        self.store().end_session(&at(60).end_session(id)).await.expect("end_session");
        self.check_listed(&at(60), None).await;

        let requests = self.requests();
        let old = requests.add_code();
        self.add_code(&old).await;
        self.check_listed(&requests.clone().time(after(self.now, 60)), None).await;
        let session = self.session().await;
        let requests = session.requests.time(session.redeem.expires_at);
        self.check_listed(&requests, None).await;
    }

    async fn lists_have_pages(&self) {
        let (client, subject) = (new_text(), new_text());
        let requests = |client: &str, subject: &str| StoreRequests::new(client, subject).time(self.now);
        let both = requests(&client, &subject);
        let mut ids = Vec::new();
        for number in 0..150 {
            ids.push(if number % 2 == 0 {
                self.session_of(both.clone()).await.id()
            } else {
                self.pending(&both).await
            });
        }
        let of_subject = self.session_of(requests(&new_text(), &subject)).await.id();
        let of_client = self.session_of(requests(&client, &new_text())).await.id();
        for (request, third) in [(both.list_by_subject(), of_subject), (both.list_by_client(), of_client)] {
            let mut expected = ids.clone();
            expected.push(third);
            expected.sort_unstable();
            assert_eq!(self.pages(&request, 1000).await, expected);
            assert_eq!(self.pages(&request, 40).await, expected, "pages of 40");
            let first = ListSessions { limit: 1, ..request };
            assert_eq!(self.list(&first).await.first().map(|listed| listed.id), expected.first().copied());
        }
    }

    async fn pending(&self, requests: &StoreRequests) -> SessionId {
        let code = requests.add_code();
        self.add_code(&code).await;
        code.session
    }

    /// Returns the ids of all pages of this length.
    async fn pages(&self, request: &ListSessions, limit: usize) -> Vec<SessionId> {
        let mut ids = Vec::new();
        while ids.len() < 1000 {
            let request = ListSessions { after: ids.last().copied(), limit, ..request.clone() };
            let page = self.list(&request).await;
            assert!(page.len() <= limit, "a page has at most {limit} sessions");
            if page.is_empty() {
                break;
            }
            ids.extend(page.iter().map(|listed| listed.id));
        }
        ids
    }
}
