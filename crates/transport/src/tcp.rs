//! TCP connections for protocols other than HTTP, under the same policy for addresses: what it rejects is never connected to.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::{
    address::{AddressPolicy, resolve},
    connection::ConnectionError,
};

/// Connects to the first address of a host that accepts. The timeout is for all of it: each address has an equal share of what the
/// resolver leaves.
pub async fn connect(
    policy: &AddressPolicy,
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<TcpStream, ConnectionError> {
    let begin = tokio::time::Instant::now();
    let resolved = tokio::time::timeout(timeout, resolve(policy, host, port)).await;
    let addresses = resolved.map_err(|_| ConnectionError::TimedOut)??;
    let share = timeout.saturating_sub(begin.elapsed()) / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut failed = ConnectionError::Unreachable;
    for address in addresses {
        failed = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => ConnectionError::of_socket(&error),
            Err(_) => ConnectionError::TimedOut,
        };
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressClass;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn names_and_literal_addresses_are_checked_before_they_are_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let open = AddressPolicy::reject_link_local("--allow-x");
        for host in ["127.0.0.1", "localhost"] {
            connect(&open, host, port, TIMEOUT).await.expect("loopback is allowed");
            listener.accept().await.expect("a connection");
            let closed = open.reject(AddressClass::Loopback);
            let error = connect(&closed, host, port, TIMEOUT).await.expect_err("rejected");
            assert!(matches!(error, ConnectionError::Address(_)), "{error}");
        }
        let error = connect(&open, "169.254.169.254", port, TIMEOUT).await.expect_err("rejected");
        assert!(error.to_string().contains("--allow-x"), "{error}");
        let waiting = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(waiting.is_err(), "no connection was made");
    }

    #[tokio::test]
    async fn a_connection_that_fails_has_a_cause() {
        let open = AddressPolicy::reject_link_local("--allow-x");
        let unused = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            listener.local_addr().expect("bound").port()
        };
        assert_eq!(
            connect(&open, "127.0.0.1", unused, TIMEOUT).await.expect_err("nothing listens there"),
            ConnectionError::Refused
        );
        let error = connect(&open, "nowhere.invalid", 22, TIMEOUT).await.expect_err("no such name");
        assert!(matches!(error, ConnectionError::Unresolved(_)), "{error}");
    }
}
