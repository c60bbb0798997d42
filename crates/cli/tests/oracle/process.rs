//! [`Oracle`]: the real driver, answering questions; [`S3Server`]: a store for it.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Cinder's driver in a process of its own, with a database of its own: `driver.py`.
pub struct Oracle {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    state: TempDir,
}

/// What the process writes to standard error, in the folder of its database.
const LOG: &str = "driver.log";

/// The Python that has Cinder, and the script that drives it; or why there is none.
fn installed() -> Result<(PathBuf, PathBuf), String> {
    let python = env::var_os("CINDERBLOCK_CINDER_PYTHON").filter(|python| !python.is_empty());
    let python =
        python.ok_or("CINDERBLOCK_CINDER_PYTHON is not set: make test sets it, where tools/cinder-oracle can")?;
    let reference = env::var_os("CINDERBLOCK_CINDER_REFERENCE").filter(|path| !path.is_empty()).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cinder-reference/cinder_reference.py"),
        PathBuf::from,
    );
    match reference.is_file() {
        true => Ok((python.into(), reference)),
        false => Err(format!("{} is missing: CINDERBLOCK_CINDER_REFERENCE says where else", reference.display())),
    }
}

/// The Python that has Cinder and these modules, too; or why there is none.
pub fn installed_with(modules: &str) -> Result<PathBuf, String> {
    let (interpreter, _) = installed()?;
    let import = format!("import {modules}");
    let tried = Command::new(&interpreter).args(["-c", &import]).stderr(Stdio::null()).status();
    match tried.is_ok_and(|status| status.success()) {
        true => Ok(interpreter),
        false => Err(format!("{} has no {modules}", interpreter.display())),
    }
}

fn python(python: &Path, script: &str) -> Command {
    let mut command = Command::new(python);
    // Nothing of the caller's clouds, proxies and Python is to show through.
    command
        .env_clear()
        .envs(["PATH", "HOME", "TMPDIR"].iter().filter_map(|name| Some((name, env::var_os(name)?))))
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

impl Oracle {
    /// Starts it, with its database below `folder`; or says why it is not to be had here. Once it was started, it has to work.
    pub fn start(folder: &Path) -> Result<Self, String> {
        let (interpreter, reference) = installed()?;
        let state = tempfile::tempdir_in(folder).unwrap();
        let log = File::create(state.path().join(LOG)).unwrap();
        let mut process = python(&interpreter, "driver.py")
            .env("CINDERBLOCK_CINDER_REFERENCE", reference)
            .arg(state.path())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", interpreter.display()));
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Ok(Self { process, questions, answers, state })
    }

    fn answer(&mut self, question: &[String]) -> Value {
        let questions = self.questions.as_mut().unwrap();
        writeln!(questions, "{}", serde_json::to_string(question).unwrap()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{question:?}: {error}: {line:?}"))
    }

    /// Asks what the real driver has to succeed at.
    pub fn ask(&mut self, question: &[String]) -> Value {
        let answer = self.answer(question);
        assert!(answer.get("error").is_none(), "Cinder, {question:?}: {answer}");
        answer
    }

    /// Asks what it has to refuse; returns its exception's class and message.
    pub fn refusal(&mut self, question: &[String]) -> (String, String) {
        let answer = self.answer(question);
        let member = |name: &str| answer[name].as_str().map(str::to_owned);
        match (member("error"), member("message")) {
            (Some(class), Some(message)) => (class, message),
            _ => panic!("Cinder did not refuse {question:?}: {answer}"),
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.questions = None;
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("Cinder's log: {}", fs::read_to_string(self.state.path().join(LOG)).unwrap_or_default());
        }
    }
}

/// An S3 server on a free port, ended with the test: `s3_server.py`.
pub struct S3Server {
    process: Child,
    stdin: Option<ChildStdin>,
    endpoint: String,
}

impl S3Server {
    /// Starts it, or says why it is not to be had here.
    pub fn start() -> Result<Self, String> {
        let interpreter = installed_with("boto3, moto.server")?;
        let mut process = python(&interpreter, "s3_server.py").spawn().unwrap();
        let stdin = process.stdin.take();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port: u16 = port.trim().parse().unwrap_or_else(|error| panic!("s3_server.py: {error}: {port:?}"));
        Ok(Self { process, stdin, endpoint: format!("http://127.0.0.1:{port}") })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.process.wait();
    }
}
