//! OpenAPI: security schemes and requirements as JSON, and documents that differ from the API.

mod described;
mod example;
mod schemes;
