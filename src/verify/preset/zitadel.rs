//! Zitadel, with JWT as the type of access tokens.
//!
//! *In*: nothing. *Out*: the profile for [`Preset`](crate::Preset).

use super::Profile;
use crate::{claims::acting::subject_may_be_machine, role::ZITADEL_ROLES_PREFIX, token::Token};

pub(super) const PROFILE: Profile = Profile {
    relax: |builder| builder.accept_plain_jwt_type(),
    acts_for: subject_may_be_machine,
    roles: Some(&["urn:zitadel:iam:org:project:roles"]),
    ..Profile::RFC9068
};

impl Token {
    /// Returns the subject's roles in one project of Zitadel: the names in `urn:zitadel:iam:org:project:{project}:roles`.
    /// Parses the claims on each call.
    ///
    /// The claim also says which organization granted each role. That is not checked here.
    #[must_use]
    pub fn zitadel_project_roles(&self, project: &str) -> Vec<String> {
        self.names_at(&[format!("{ZITADEL_ROLES_PREFIX}{project}:roles")])
    }
}
