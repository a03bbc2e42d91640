//! The client against small servers: causes of failures, certificates, proxies.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use plumb_api::sealed::Sealed;

use crate::{
    ClientConfig, ConnectionError, Credential, Proxy, ProxyAddress, Trust, TrustPart,
    address::{AddressClass, AddressPolicy},
};

/// A server that responds to each connection with the bytes that `response` makes of the head of its request, and what it saw.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(response: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let head = read_head(&mut stream);
                let bytes = response(&head);
                heads.lock().unwrap().push(head);
                let _ = stream.write_all(&bytes);
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

pub(crate) fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .into_bytes()
}

pub(crate) fn config() -> ClientConfig {
    ClientConfig { proxy: Proxy::None, ..ClientConfig::default() }
}

async fn failure(config: ClientConfig, url: &str) -> ConnectionError {
    let error = match config.build().unwrap().get(url).send().await {
        Ok(response) => response.bytes().await.unwrap_err(),
        Err(error) => error,
    };
    ConnectionError::of(&error)
}

/// A self-signed certificate for `localhost`, and a TLS server with it that is accepted once.
pub(crate) fn tls_server(name: &str) -> (Vec<u8>, u16) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let signed = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let pem = signed.cert.pem().into_bytes();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let (server, listener) = (Arc::new(server), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let connection = rustls::ServerConnection::new(Arc::clone(&server)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            if !read_head(&mut tls).is_empty() {
                let _ = tls.write_all(&ok("secure"));
            }
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (pem, port)
}

#[tokio::test]
async fn each_connection_failure_is_one_cause_in_one_text() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ends = Server::start(|_| Vec::new());
    let truncates = Server::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec());
    let garbage = Server::start(|_| b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec());
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let without_tls = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let (_, tls) = tls_server("localhost");
    for (url, expect) in [
        (format!("http://{closed}/"), "connection refused"),
        (ends.url("/"), "unexpected end of the response"),
        (truncates.url("/"), "unexpected end of the response"),
        (garbage.url("/"), "malformed HTTP response"),
        (format!("https://{without_tls}/"), "TLS handshake failed: the server does not speak TLS"),
        (format!("https://localhost:{tls}/"), "certificate signed by unknown authority"),
    ] {
        for _ in 0..2 {
            let config = ClientConfig { read_timeout: Some(Duration::from_secs(10)), ..config() };
            assert_eq!(failure(config, &url).await.to_string(), expect, "{url}");
        }
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_named_with_the_words_of_the_resolver() {
    let addresses = AddressPolicy::reject_link_local("--allow-x");
    let config = ClientConfig { addresses: Some(addresses), ..config() };
    let error = failure(config.clone(), "http://nowhere.invalid/").await;
    let text = error.to_string();
    assert!(text.starts_with("host \"nowhere.invalid\" cannot be resolved: "), "{text}");
    assert!(!text.contains("failed to lookup"), "{text}");
    let addresses = addresses.reject(AddressClass::Loopback);
    let error = failure(ClientConfig { addresses: Some(addresses), ..config }, "http://localhost:1/").await;
    assert!(matches!(&error, ConnectionError::Address(_)), "{error:?}");
    assert!(error.to_string().ends_with("--allow-x allows it"), "{error}");
}

#[tokio::test]
async fn a_silent_server_fails_after_the_timeout() {
    // Connections wait in the kernel: no process accepts them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = ClientConfig { read_timeout: Some(Duration::from_millis(50)), ..config() };
    let url = format!("http://{}/", silent.local_addr().unwrap());
    assert_eq!(failure(config, &url).await, ConnectionError::TimedOut);
}

#[tokio::test]
async fn only_a_certificate_of_the_bundle_for_this_host_is_trusted() {
    let (pem, port) = tls_server("localhost");
    let trust = Trust::parse(Some(&pem), None).unwrap();
    let client = ClientConfig { trust: trust.clone(), ..config() }.build().unwrap();
    let url = format!("https://localhost:{port}/");
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "secure");
    let (other, _) = tls_server("localhost");
    let trust = Trust::parse(Some(&other), None).unwrap();
    let error = failure(ClientConfig { trust, ..config() }, &url).await;
    assert_eq!(error, ConnectionError::UnknownAuthority);
    let (pem, port) = tls_server("elsewhere.example");
    let trust = Trust::parse(Some(&pem), None).unwrap();
    let error = failure(ClientConfig { trust, ..config() }, &format!("https://localhost:{port}/")).await;
    assert_eq!(error.to_string(), "certificate of the server rejected: it is not for the name of this host");
}

#[tokio::test]
async fn certificates_beside_those_of_the_system_and_none_at_all_are_a_choice() {
    let (pem, port) = tls_server("localhost");
    let (other, _) = tls_server("localhost");
    let url = format!("https://localhost:{port}/");
    for trust in [Trust::parse_beside_system(Some(&pem), None).unwrap(), Trust::unverified()] {
        let client = ClientConfig { trust, ..config() }.build().unwrap();
        assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "secure");
    }
    let trust = Trust::parse_beside_system(Some(&other), None).unwrap();
    assert_eq!(failure(ClientConfig { trust, ..config() }, &url).await, ConnectionError::UnknownAuthority);
}

#[test]
fn each_unusable_part_of_the_certificates_has_its_own_error() {
    let pair = || {
        let signed = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        (signed.cert.pem().into_bytes(), Sealed::from(signed.signing_key.serialize_pem().as_str()))
    };
    let ((chain, key), (_, other_key), nonsense) = (pair(), pair(), Sealed::from("nonsense"));
    let part = |ca: Option<&[u8]>, client| Trust::parse(ca, client).map_err(|error| error.part).err();
    assert_eq!(part(None, Some((&chain, &key))), None);
    assert_eq!(part(Some(&chain), Some((&chain, &key))), None);
    assert_eq!(part(Some(b"nonsense"), None), Some(TrustPart::CaBundle));
    assert_eq!(part(None, Some((b"nonsense", &key))), Some(TrustPart::ClientCertificate));
    assert_eq!(part(None, Some((&chain, &nonsense))), Some(TrustPart::ClientKey));
    assert_eq!(part(Some(&chain), Some((&chain, &other_key))), Some(TrustPart::ClientKey));
}

#[tokio::test]
async fn a_proxy_gets_its_own_credentials_and_may_not_be_at_a_rejected_address() {
    let server = Server::start(|_| ok("by proxy"));
    let basic = |password: &str| Credential::Basic { username: "me".into(), password: password.into() };
    let proxy = ProxyAddress::parse(&server.url(""), &basic("s3cret")).unwrap();
    assert!(!format!("{proxy:?}").contains("s3cret"));
    let client = ClientConfig { proxy: Proxy::Address(proxy), ..config() }.build().unwrap();
    let response = client.get("http://git.invalid/app").send().await.unwrap().text().await.unwrap();
    assert_eq!(response, "by proxy");
    let head = server.seen().remove(0);
    assert!(head.starts_with("GET http://git.invalid/app "), "{head}");
    assert!(head.contains("proxy-authorization: Basic bWU6czNjcmV0\r\n"), "{head}");
    let error = ProxyAddress::parse("http://host:1", &basic("s3cret\n")).unwrap_err();
    assert_eq!(error.to_string(), "proxy \"http://host:1/\": the password ends with a line break");
    for (address, problem) in [
        ("socks5://host:1", "neither http nor https"),
        ("http://me:s3cret@host:1", "credentials in it"),
        ("nonsense", "does not parse"),
    ] {
        let error = ProxyAddress::parse(address, &Credential::None).unwrap_err().to_string();
        assert!(error.contains(problem) && !error.contains("s3cret"), "{error}");
    }
    let proxy = Proxy::Address(ProxyAddress::parse("http://169.254.169.254/", &Credential::None).unwrap());
    let addresses = Some(AddressPolicy::reject_link_local("--allow-x"));
    let error = ClientConfig { proxy, addresses, ..config() }.build().unwrap_err();
    assert!(error.to_string().contains("--allow-x allows it"), "{error}");
}
