//! What all clients for HTTP have in common.

use reqwest::{ClientBuilder, redirect};

use crate::Settings;

/// A client that says who it is, waits no longer than it should for a connection, and follows nobody: a redirection would turn a
/// PUT into a GET, or take a token or a signature where it does not belong.
pub(crate) fn client(settings: &Settings) -> ClientBuilder {
    reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(settings.connect_timeout)
        .user_agent(concat!("cinderblock/", env!("CARGO_PKG_VERSION")))
}

/// The same, for an endpoint that is asked without TLS alone, or with it alone. Without, the system's certificates are not read: some hundred files, 10 ms.
pub(crate) fn client_of(settings: &Settings, is_plain: bool) -> ClientBuilder {
    match is_plain {
        true => client(settings).tls_certs_only([]),
        false => client(settings).https_only(true),
    }
}
