//! Where keys come from, other than the environment.

use std::fmt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::{CredentialProvider, Error, Result};
use serde::Deserialize;

/// How long before their end credentials are asked for anew, in seconds.
const MARGIN: i64 = 300;

/// A provider whose failures say what to set.
#[derive(Debug)]
pub(super) struct Explained(pub(super) AwsCredentialProvider);

#[derive(Debug, thiserror::Error)]
#[error(
    "no credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, the profile has none, and no service gave any: {cause}"
)]
struct NoCredentials {
    // In words, and no source: of an error's sources the last one is told, which says least here.
    cause: String,
}

#[async_trait]
impl CredentialProvider for Explained {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        self.0.get_credential().await.map_err(|error| {
            let mut last: &dyn std::error::Error = &error;
            while let Some(cause) = last.source() {
                last = cause;
            }
            Error::Unauthenticated { path: String::new(), source: NoCredentials { cause: last.to_string() }.into() }
        })
    }
}

/// The command that `credential_process` names.
///
/// docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
pub(super) struct Process {
    command: String,
    last: Mutex<Option<Answer>>,
}

#[derive(Clone)]
struct Answer {
    credential: Arc<AwsCredential>,
    /// None where they never end.
    end: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("credential_process {problem}")]
struct ProcessFailed {
    problem: String,
}

impl Process {
    pub(super) fn new(command: String) -> Process {
        Process { command, last: Mutex::new(None) }
    }

    fn run(&self) -> Result<Answer, ProcessFailed> {
        let failed = |problem: String| ProcessFailed { problem };
        let output = Command::new("/bin/sh").args(["-c", &self.command]).stdin(Stdio::null()).output();
        let output = output.map_err(|error| failed(format!("could not be run: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default().chars().take(200).collect::<String>();
            return Err(failed(format!("ended with {}: {last}", output.status)));
        }
        // What it printed is a secret: no message has it.
        let document: Document = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed("did not print the JSON document that it should".to_owned()))?;
        if document.version != 1 {
            return Err(failed(format!("printed a document of version {}, not 1", document.version)));
        }
        let end = document.expiration.map(|end| end.parse::<Timestamp>()).transpose();
        let end = end.map_err(|error| failed(format!("printed an expiration that is no time: {error}")))?;
        let credential = Arc::new(AwsCredential {
            key_id: document.access_key_id,
            secret_key: document.secret_access_key,
            token: document.session_token,
        });
        Ok(Answer { credential, end })
    }
}

#[async_trait]
impl CredentialProvider for Process {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        // Held while the command runs: whoever comes meanwhile wants its answer, too.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = Timestamp::now().saturating_add(SignedDuration::from_secs(MARGIN));
        let is_good = |answer: &&Answer| match (answer.end, &soon) {
            (Some(end), Ok(soon)) => end > *soon,
            _ => answer.end.is_none(),
        };
        if let Some(answer) = last.as_ref().filter(is_good) {
            return Ok(Arc::clone(&answer.credential));
        }
        let answer = self.run().map_err(|source| Error::Generic { store: "S3", source: source.into() })?;
        *last = Some(answer.clone());
        Ok(answer.credential)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;

    fn ask(process: &Process) -> Result<String> {
        let credential = runtime::shared().unwrap().block_on(process.get_credential())?;
        Ok(format!("{}:{}", credential.key_id, credential.secret_key))
    }

    /// A command that counts its runs in a file, and prints how many there were as the key.
    fn counting(folder: &std::path::Path, expiration: &str) -> Process {
        let file = folder.join("runs");
        Process::new(format!(
            "echo x >>{0}; printf '{{\"Version\":1,\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"s\"{expiration}}}' $(wc -l <{0})",
            file.display()
        ))
    }

    #[test]
    fn a_command_is_run_again_only_when_its_answer_ends() {
        for (expiration, second) in [
            ("", "1:s"),
            (",\"Expiration\":\"2999-01-01T00:00:00Z\"", "1:s"),
            (",\"Expiration\":\"2001-01-01T00:00:00Z\"", "2:s"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let process = counting(folder.path(), expiration);
            assert_eq!(ask(&process).unwrap(), "1:s");
            assert_eq!(ask(&process).unwrap(), second, "{expiration}");
        }
    }

    #[test]
    fn a_command_that_fails_is_told_without_its_secrets() {
        for command in [
            "echo no token >&2; exit 3",
            "echo secret",
            "printf '{\"Version\":2,\"AccessKeyId\":\"secret\",\"SecretAccessKey\":\"secret\"}'",
        ] {
            let error = ask(&Process::new(command.to_owned())).unwrap_err().to_string();
            assert!(error.contains("credential_process") && !error.contains("secret"), "{error}");
        }
    }
}
