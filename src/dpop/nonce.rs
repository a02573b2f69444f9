//! stub
use crate::config_error::ConfigError;
#[derive(Debug, Clone)]
pub struct NonceSecret;
impl NonceSecret {
    pub fn shared(_: [u8; 32]) -> Self {
        Self
    }
    pub fn for_one_instance() -> Result<Self, ConfigError> {
        Ok(Self)
    }
}
pub(crate) struct Nonces;
impl Nonces {
    pub(crate) fn for_resource_server(_: NonceSecret) -> Self {
        Self
    }
}
