//! `callgate witness`: watch logs of gateways, and cosign their heads.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tlog::note::VerifierKey;

use super::print;
use crate::app;
use crate::clock::SystemClock;
use crate::disk::RealDisk;
use crate::listener::{self, TlsFiles};
use crate::witness::Witness;

/// What to do with a witness.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a witness's folder and key, once. Prints the key that its cosignatures verify with.
    Init {
        /// The folder.
        #[arg(long)]
        state: PathBuf,
        /// The witness's name, such as `witness.example.com/w1`; it stays for ever.
        #[arg(long)]
        name: String,
    },
    /// Watch one more log, from its beginning. The witness must not be running.
    AddLog {
        /// The folder.
        #[arg(long)]
        state: PathBuf,
        /// The log's key, as `callgate audit key` prints it there.
        log: VerifierKey,
    },
    /// Print the witness's key, and each log's newest cosigned head.
    Show {
        /// The folder.
        #[arg(long)]
        state: PathBuf,
    },
    /// Answer logs until SIGTERM.
    Serve(ServeArgs),
}

/// Where a witness answers.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// The folder.
    #[arg(long)]
    state: PathBuf,
    /// Address and port. Plaintext is for loopback only.
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// PEM file with the certificate chain.
    #[arg(long, requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// PEM file with the certificate's key.
    #[arg(long, requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Speak plaintext on an address that is not loopback: only behind a TLS terminator. What is
    /// signed does not depend on it.
    #[arg(long)]
    danger_plaintext: bool,
}

pub(super) async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init { state, name } => {
            if let Some(parent) = state.parent() {
                std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            }
            let key = Witness::init(state, name, &RealDisk)?;
            print(&key.to_string());
        }
        Command::AddLog { state, log } => {
            Witness::add_log(state, log, Arc::new(RealDisk), Arc::new(SystemClock))?;
            print(&format!("watching `{}` from its beginning", log.name()));
        }
        Command::Show { state } => {
            let witness = Witness::open(state, Arc::new(RealDisk), Arc::new(SystemClock))?;
            print(&format!("witness {}", witness.key()));
            for log in witness.logs() {
                print(&format!("\nlog {}", log.key));
                print(
                    log.checkpoint
                        .as_deref()
                        .unwrap_or("nothing cosigned yet")
                        .trim_end(),
                );
            }
        }
        Command::Serve(args) => {
            let tls = args.tls_certificate.clone().zip(args.tls_key.clone());
            let listen = listener::Config {
                address: args.listen,
                tls: tls.map(|(certificate, key)| TlsFiles { certificate, key }),
                danger_plaintext: args.danger_plaintext,
                hosts: Vec::new(),
            };
            app::serve_witness(&args.state, &listen).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
