//! A PostgreSQL server of a story's own, gone with it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::root;

/// The server.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    socket: PathBuf,
}

impl Postgres {
    /// Start one in a temporary folder.
    pub(crate) fn start() -> Self {
        let mut child = Command::new(root().join("scripts/throwaway-postgres.sh"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script");
        let commands = child.stdin.take();
        let mut server = Self {
            answers: BufReader::new(child.stdout.take().expect("its output")),
            child,
            commands,
            socket: PathBuf::new(),
        };
        let ready = server.line();
        server.socket = PathBuf::from(ready.strip_prefix("ready ").expect("a folder"));
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    fn tell(&mut self, command: &str) {
        let commands = self.commands.as_mut().expect("its input");
        writeln!(commands, "{command}").expect("a command");
        assert_eq!(self.line(), "done", "{command}");
    }

    /// Stop it as a crash does.
    pub(crate) fn crash(&mut self) {
        self.tell("kill");
    }

    /// Start it again.
    pub(crate) fn come_back(&mut self) {
        self.tell("start");
    }

    /// What names it in a config.
    pub(crate) fn url(&self) -> String {
        let socket = self.socket.display();
        format!("postgres:///postgres?user=callgate&host={socket}")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
