//! What is kept of servers, where the object says how they are reached.

use plumb_testkit::registry::{Registry, response};
use plumb_transport::{Proxy, ProxyAddress};

use super::*;

/// A server that offers no shallow fetches.
fn server() -> Registry {
    let server = Registry::plain().unwrap();
    server.answer(|_| {
        let offer = "000eversion 2\n0010fetch=filter0000";
        Some(response(200, &[("content-type", "application/x-git-upload-pack-advertisement")], offer))
    });
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_offers_counts_for_those_only_who_reach_it_in_the_same_way() {
    let (root, direct, proxy) = (tempfile::tempdir().unwrap(), server(), server());
    let git = open(root.path(), Limits::default());
    let url = format!("http://{}/app", direct.address());
    let plain = || Endpoint::new(&url, Credential::None, Trust::default()).unwrap();
    let address = ProxyAddress::parse(&format!("http://{}", proxy.address()), &Credential::None).unwrap();
    let proxied = plain().through(Proxy::Address(address));
    let wait = Duration::from_secs(10);
    let reference = Reference::from_fields(None, None, None, None, Some(&"1".repeat(40))).unwrap();
    let found = git.find("mallory", &proxied, &reference, wait).await.unwrap().found().clone();
    assert_eq!((proxy.calls().len(), direct.calls().len()), (1, 0));
    let session = git.session("apps", &plain().through(Proxy::None), &reference, found);
    let error = git.checkout(session, &Selection::default(), wait).await.err().unwrap();
    assert_eq!((proxy.calls().len(), direct.calls().len()), (1, 1));
    assert!(matches!(&error, GitError::NoShallow { url: of } if *of == url), "{error}");
}
