//! The texts of the metadata that are for people (RFC 9728 §2.1).
//!
//! *In*: texts and URLs, each for one language or for all. *Out*: members of the document, such as `resource_name#de`.

use serde_json::{Map, Value};

use crate::{
    config_error::{ConfigMistake, MistakeCollector},
    url::{PlainHttp, check_url},
};

/// Which of the four texts it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    Name,
    Documentation,
    PolicyUri,
    TosUri,
}

impl TextKind {
    fn member(self) -> &'static str {
        match self {
            Self::Name => "resource_name",
            Self::Documentation => "resource_documentation",
            Self::PolicyUri => "resource_policy_uri",
            Self::TosUri => "resource_tos_uri",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Documentation => "documentation",
            Self::PolicyUri => "policy_uri",
            Self::TosUri => "tos_uri",
        }
    }
}

/// The texts in the order in which they were set.
#[derive(Debug, Clone, Default)]
pub(super) struct HumanReadableTexts(Vec<HumanReadableText>);

#[derive(Debug, Clone)]
struct HumanReadableText {
    kind: TextKind,
    language: Option<String>,
    text: String,
}

impl HumanReadableTexts {
    /// Sets a text. It replaces an earlier one for the same language; the case of language tags has no meaning.
    pub(super) fn set(&mut self, kind: TextKind, language: Option<String>, text: String) {
        let normal = |language: &Option<String>| language.as_ref().map(|language| language.to_ascii_lowercase());
        self.0.retain(|other| other.kind != kind || normal(&other.language) != normal(&language));
        self.0.push(HumanReadableText { kind, language, text });
    }

    /// Returns the members of the document.
    pub(super) fn members(&self, mistakes: &mut MistakeCollector) -> Map<String, Value> {
        let member = |text: &HumanReadableText| match &text.language {
            Some(language) => format!("{}#{language}", text.kind.member()),
            None => text.kind.member().to_owned(),
        };
        self.0.iter().for_each(|text| text.check(mistakes));
        self.0.iter().map(|text| (member(text), text.text.clone().into())).collect()
    }
}

impl HumanReadableText {
    fn check(&self, mistakes: &mut MistakeCollector) {
        let setting = self.kind.setting();
        if self.kind != TextKind::Name {
            mistakes.check(check_url(setting, &self.text, PlainHttp::Loopback));
        } else if self.text.trim().is_empty() || self.text.contains(char::is_control) {
            let found = format!("{:?} is empty, or has a control character", self.text);
            mistakes.add(setting, found, "give a name in one line");
        }
        if let Some(language) = &self.language {
            mistakes.check(check_language(setting, language));
        }
    }
}

/// Checks the form of a language tag, but not whether its parts are registered (RFC 5646 §2.1).
fn check_language(setting: &'static str, language: &str) -> Result<(), ConfigMistake> {
    let well_formed =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let primary = language.split('-').next().unwrap_or_default();
    if primary.bytes().all(|byte| byte.is_ascii_alphabetic()) && language.split('-').all(well_formed) {
        return Ok(());
    }
    Err(ConfigMistake::new(setting, format!("{language:?} is not a language tag"), "give a tag such as de or pt-BR"))
}
