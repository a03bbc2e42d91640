//! Each fault against the mock API server: what arrives at the client, what at the server, what is recorded.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::{
    scenario::{Feed, Listening, Response, Scenario},
    wait::Wait,
    wire,
};

const MAPS: &str = "/api/v1/namespaces/apps/configmaps";
const TIMEOUT: Duration = Duration::from_secs(20);

/// A mock API server behind a proxy.
struct Fixture {
    api: Scenario,
    proxy: Proxy,
    _listening: Listening,
}

fn fixture() -> Fixture {
    let api = Scenario::new();
    api.on("*", "/api/v1/namespaces/apps/configmaps/*", Response::ok(json!({"kind": "ConfigMap"})));
    let listening = api.listen().unwrap();
    let upstream = Upstream { server: listening.url(), ca: None, token: Some("token".to_owned()) };
    Fixture { api, proxy: Proxy::start(upstream).unwrap(), _listening: listening }
}

impl Fixture {
    fn patch(&self, name: &str) -> Result<u16> {
        let path = format!("{MAPS}/{name}?fieldManager=test");
        Ok(wire::request(self.proxy.address(), "PATCH", &path, &[], b"{\"a\": 1}")?.code)
    }

    fn forwarded(&self) -> usize {
        self.api.calls().len()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.proxy.records().iter().map(|record| record.outcome).collect()
    }
}

#[test]
fn requests_pass_and_are_recorded() {
    let fixture = fixture();
    assert_eq!(fixture.patch("a").unwrap(), 200);
    let records = fixture.proxy.records();
    assert_eq!((records.len(), records[0].path.as_str()), (1, "/api/v1/namespaces/apps/configmaps/a"));
    assert_eq!((records[0].bytes, records[0].write), (8, true));
    assert_eq!(records[0].outcome, Outcome::Responded(200));
    assert_eq!(fixture.api.calls()[0].body, json!({"a": 1}));
    assert_eq!(fixture.api.calls()[0].parameter("fieldManager"), Some("test"));
}

#[test]
fn a_rule_hits_the_requests_that_it_names_and_no_others() {
    let fixture = fixture();
    let rule = Rule::new("PATCH", &format!("{MAPS}/b"), Fault::Respond(500)).after(1).times(1);
    let id = fixture.proxy.add(rule);
    let codes = ["a", "b", "b", "b"].map(|name| fixture.patch(name).unwrap());
    assert_eq!(codes, [200, 200, 500, 200]);
    assert_eq!((fixture.proxy.hits(id), fixture.forwarded()), (1, 3));
}

#[test]
fn a_condition_reads_the_body() {
    let fixture = fixture();
    fixture.proxy.add(Rule::writes("/*", Fault::Respond(409)).when(|seen| seen.json()["a"] == 1));
    assert_eq!(fixture.patch("a").unwrap(), 409);
    assert_eq!(wire::get(fixture.proxy.address(), &format!("{MAPS}/a")).unwrap().code, 200);
}

#[test]
fn a_retry_after_is_sent_in_the_header() {
    let fixture = fixture();
    fixture.proxy.add(Rule::writes("/*", Fault::RetryAfter(429, 3600)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("http://{}{MAPS}/a", fixture.proxy.address());
    let response = runtime.block_on(reqwest::Client::new().patch(url).send()).unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"3600".parse().unwrap())
    );
}

#[test]
fn a_lost_response_was_written_and_a_reset_was_not() {
    let fixture = fixture();
    fixture.proxy.add(Rule::writes("/*", Fault::LostResponse).times(1));
    fixture.proxy.add(Rule::writes("/*", Fault::Reset).times(1));
    assert!(fixture.patch("a").is_err());
    assert_eq!(fixture.forwarded(), 1);
    assert!(fixture.patch("a").is_err());
    assert_eq!(fixture.forwarded(), 1);
    assert_eq!(fixture.patch("a").unwrap(), 200);
    assert_eq!(fixture.outcomes(), [Outcome::Lost(200), Outcome::Reset, Outcome::Responded(200)]);
    assert!(fixture.proxy.records()[0].took_effect());
}

#[test]
fn a_body_above_the_limit_is_rejected() {
    let fixture = fixture();
    fixture.proxy.add(Rule::writes(&format!("{MAPS}/a"), Fault::RejectAbove(7)));
    fixture.proxy.add(Rule::writes(&format!("{MAPS}/b"), Fault::RejectAbove(8)));
    assert_eq!((fixture.patch("a").unwrap(), fixture.patch("b").unwrap()), (413, 200));
}

#[test]
fn a_hanging_request_gets_no_response_and_a_delayed_one_gets_it_later() {
    let fixture = fixture();
    let hung = fixture.proxy.add(Rule::writes(&format!("{MAPS}/a"), Fault::Hang));
    fixture.proxy.add(Rule::writes(&format!("{MAPS}/b"), Fault::Delay(Duration::from_millis(200))));
    let stream = std::net::TcpStream::connect(fixture.proxy.address()).unwrap();
    std::io::Write::write_all(
        &mut &stream,
        format!("PATCH {MAPS}/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").as_bytes(),
    )
    .unwrap();
    let arrives = Wait::until("the request arrives", TIMEOUT).every(Duration::from_millis(1));
    arrives.holds_blocking(|| fixture.proxy.hits(hung) > 0).unwrap();
    let started = Instant::now();
    assert_eq!(fixture.patch("b").unwrap(), 200);
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!((fixture.proxy.hits(hung), fixture.forwarded()), (1, 1));
    stream.set_nonblocking(true).unwrap();
    let silent = std::io::Read::read(&mut &stream, &mut [0; 1]).unwrap_err();
    assert_eq!(silent.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn after_heal_nothing_is_hit() {
    let fixture = fixture();
    let id = fixture.proxy.add(Rule::writes("/*", Fault::Respond(503)));
    assert_eq!(fixture.patch("a").unwrap(), 503);
    fixture.proxy.heal();
    assert_eq!((fixture.patch("a").unwrap(), fixture.proxy.hits(id)), (200, 1));
}

/// A process that would live for a minute.
fn victim() -> std::process::Child {
    std::process::Command::new("sleep").arg("60").spawn().unwrap()
}

#[test]
fn a_process_is_killed_before_the_nth_write_and_no_request_follows() {
    let fixture = fixture();
    let mut victim = victim();
    fixture.proxy.kill_at_write(2, Moment::Before, victim.id());
    assert_eq!(fixture.patch("a").unwrap(), 200);
    // Reads are not counted.
    wire::get(fixture.proxy.address(), &format!("{MAPS}/a")).unwrap();
    assert!(fixture.patch("b").is_err());
    assert!(!victim.wait().unwrap().success());
    assert!(fixture.proxy.has_sprung());
    assert!(fixture.patch("c").is_err());
    assert_eq!(fixture.api.matching("PATCH", "/*").len(), 1);
    fixture.proxy.open();
    assert_eq!(fixture.patch("c").unwrap(), 200);
}

#[test]
fn a_process_is_killed_after_the_response_to_the_nth_write() {
    let fixture = fixture();
    let mut victim = victim();
    fixture.proxy.kill_at_write(1, Moment::After, victim.id());
    assert!(fixture.patch("a").is_err());
    assert!(!victim.wait().unwrap().success());
    assert!(fixture.patch("b").is_err());
    assert_eq!((fixture.forwarded(), fixture.outcomes()), (1, vec![Outcome::Lost(200), Outcome::Reset]));
}

#[test]
fn an_action_without_a_kill_lets_the_write_continue() {
    let fixture = fixture();
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    fixture.proxy.at_write(1, Moment::Before, move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!((fixture.patch("a").unwrap(), fixture.patch("b").unwrap()), (200, 200));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// A watch through the proxy, read line by line in a thread.
struct Watching {
    feed: Feed,
    lines: std::sync::mpsc::Receiver<String>,
}

fn watching(fixture: &Fixture) -> Watching {
    use std::io::{BufRead as _, Write as _};
    let (feed, response) = Response::feed();
    fixture.api.once("GET", MAPS, response);
    let mut stream = std::net::TcpStream::connect(fixture.proxy.address()).unwrap();
    stream.write_all(format!("GET {MAPS}?watch=true HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let lines = std::io::BufReader::new(stream).lines().map_while(Result::ok);
        for line in lines.filter(|line| line.starts_with('{')) {
            let event: Value = serde_json::from_str(&line).unwrap();
            let _ = sender.send(event["object"].as_str().unwrap_or_default().to_owned());
        }
    });
    Watching { feed, lines }
}

impl Watching {
    fn send(&self, names: &[&str]) {
        for name in names {
            self.feed.send("MODIFIED", &json!(name));
        }
    }

    /// The next events; fewer if the watch ends.
    fn take(&self, count: usize) -> Vec<String> {
        (0..count).map_while(|_| self.lines.recv_timeout(TIMEOUT).ok()).collect()
    }
}

#[test]
fn events_are_duplicated_and_reordered() {
    let fixture = fixture();
    let watch = watching(&fixture);
    watch.send(&["a"]);
    assert_eq!(watch.take(1), ["a"]);
    fixture.proxy.add(Rule::new("GET", MAPS, Fault::DuplicateEvents).times(1));
    fixture.proxy.add(Rule::new("GET", MAPS, Fault::ReorderEvents));
    watch.send(&["b", "c", "d"]);
    assert_eq!(watch.take(4), ["b", "b", "d", "c"]);
    // One alone is not held for ever.
    watch.send(&["e"]);
    assert_eq!(watch.take(1), ["e"]);
}

#[test]
fn a_watch_that_missed_events_ends_when_the_fault_does() {
    let fixture = fixture();
    let watch = watching(&fixture);
    watch.send(&["a"]);
    assert_eq!(watch.take(1), ["a"]);
    let dropped = fixture.proxy.add(Rule::new("GET", MAPS, Fault::DropEvents));
    watch.send(&["b", "c"]);
    let swallowed = Wait::until("both events are dropped", TIMEOUT).every(Duration::from_millis(1));
    swallowed.holds_blocking(|| fixture.proxy.hits(dropped) >= 2).unwrap();
    fixture.proxy.heal();
    assert_eq!(watch.take(1), Vec::<String>::new());
}

#[test]
fn open_watches_are_cut() {
    let fixture = fixture();
    let watch = watching(&fixture);
    watch.send(&["a"]);
    assert_eq!(watch.take(1), ["a"]);
    fixture.proxy.cut_watches();
    assert_eq!(watch.take(1), Vec::<String>::new());
    assert_eq!(fixture.outcomes(), [Outcome::Responded(200)]);
}

#[test]
fn the_kubeconfig_leads_to_the_proxy() {
    let fixture = fixture();
    let config = kube::config::Kubeconfig::read_from(fixture.proxy.kubeconfig()).unwrap();
    let server = config.clusters[0].cluster.as_ref().and_then(|cluster| cluster.server.clone());
    assert_eq!(server, Some(format!("http://{}", fixture.proxy.address())));
}
