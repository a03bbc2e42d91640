//! The tasks that write to the sockets of a client. What is written never enters.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::Executor;

/// Says whether the connections of a client may send. It is asked at each step of a connection: it must be quick.
pub type MaySend = Arc<dyn Fn() -> bool + Send + Sync>;

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the connections of a client for as long as they may send.
///
/// A request is handed to its connection, which writes it in a task of its own, later. What was asked before a request
/// was handed over may no longer hold when its bytes are written, for example after the process was stopped (SIGSTOP)
/// in between. So it is asked again in the task that writes, right before it does.
#[derive(Clone)]
pub(crate) struct Connections(pub(crate) MaySend);

impl Executor<Connection> for Connections {
    fn execute(&self, connection: Connection) {
        tokio::spawn(While { connection, may_send: Arc::clone(&self.0) });
    }
}

/// A connection that is dropped, and with it closed, when it may not send.
struct While {
    connection: Connection,
    may_send: MaySend,
}

impl Future for While {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !(self.may_send)() {
            return Poll::Ready(());
        }
        self.connection.as_mut().poll(context)
    }
}
