//! From the command line to a running controller, and from its end to an exit code.

use std::process::ExitCode;

use plumb_cluster::Connector;
use plumb_status::chain;

use crate::background::BoxError;
use crate::clock::Clock;
use crate::logs;
use crate::options::ControllerOptions;
use crate::runtime::Runtime;

/// The exit code of a command line that is refused, as Go programs have it.
const USAGE_ERROR: u8 = 2;
/// More threads than this only cost memory: the work is waiting for others.
const THREADS_MAX: usize = 4;

/// Runs a controller: parses its flags (2 if they are refused), installs it, runs it until a signal (0) or a fault (1).
pub fn start<O: ControllerOptions>(
    install: impl AsyncFnOnce(&mut Runtime, O) -> Result<(), BoxError>,
) -> ExitCode {
    let options = match O::parse_args(std::env::args_os()) {
        Ok(options) => options,
        Err(error) => {
            // If even that cannot be written, nothing can be reported.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE_ERROR));
        }
    };
    let common = options.common();
    logs::start(common.log_level, common.log_encoding, O::IDENTITY.controller);
    if let Err(refused) = options.validate() {
        tracing::error!(error = %refused, "invalid command line");
        return ExitCode::from(USAGE_ERROR);
    }
    // An error means that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let threads =
        std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, THREADS_MAX);
    let executor =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
            Ok(executor) => executor,
            Err(error) => {
                tracing::error!(%error, "failed to start threads");
                return ExitCode::FAILURE;
            }
        };
    let ended = executor.block_on(async {
        let connector = Connector::infer().await?;
        let mut runtime = Runtime::connect(&options, &connector, Clock::system())?;
        let shutdown = runtime.shutdown();
        tokio::spawn(async move {
            signalled().await;
            tracing::info!("shutdown requested");
            shutdown.cancel();
        });
        install(&mut runtime, options).await?;
        runtime.run().await
    });
    executor.shutdown_background();
    match ended {
        Ok(()) => {
            tracing::info!("exited");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "exited with error");
            ExitCode::FAILURE
        }
    }
}

/// Resolves when the shutdown of the process is requested.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("failed to install signal handlers, only SIGKILL stops this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
