//! Object stores that the environment names: `make test-remote` starts them and sets the variables.

use std::env;
use std::process::Command;

use serde_json::Value;

use crate::common::{Place, failure};
use crate::oracle::words;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    S3,
    Swift,
}

impl Server {
    /// The Python module that Cinder's driver for it needs.
    pub fn module(self) -> &'static str {
        match self {
            Server::S3 => "boto3",
            Server::Swift => "swiftclient",
        }
    }
}

/// A server, and a folder for what is done beside it.
pub struct Store {
    pub place: Place,
    server: Server,
    /// A bucket or container for tests, as a URL.
    tests: String,
    variables: Vec<(String, String)>,
}

impl Store {
    /// None, and a word why, where there is no such server.
    pub fn find(server: Server) -> Option<Self> {
        let variable = match server {
            Server::S3 => "CINDERBLOCK_TEST_S3",
            Server::Swift => "CINDERBLOCK_TEST_SWIFT",
        };
        let Some(tests) = env::var(variable).ok().filter(|url| !url.is_empty()) else {
            println!("skipped: {variable} is not set; make test-remote starts the server");
            return None;
        };
        let is_wanted = |name: &String| ["AWS_", "ST_", "OS_"].iter().any(|prefix| name.starts_with(prefix));
        let variables = env::vars().filter(|(name, _)| is_wanted(name)).collect();
        Some(Self { place: Place::in_memory(), server, tests, variables })
    }

    /// The root of which every container is a container of the server's.
    pub fn root(&self) -> &'static str {
        match self.server {
            Server::S3 => "s3://",
            Server::Swift => "swift://",
        }
    }

    /// A place in the server's bucket for tests that no test before had.
    pub fn part(&self, name: &str) -> String {
        format!("{}/{}", self.tests, unique(name))
    }

    /// The name of a container that nobody has made yet.
    pub fn new_container(&self, name: &str) -> String {
        unique(name)
    }

    pub fn command(&self, arguments: &[String]) -> Command {
        let mut command = self.place.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        // One node: its listings show what it has acknowledged.
        command.env("CINDERBLOCK_SWIFT_SETTLE", "0s");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs our command with `--json`, which has to succeed without a word on standard error; returns the document.
    pub fn json(&self, arguments: &[String]) -> Value {
        let output = self.command(&[arguments, &words(&["--json"])].concat()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{arguments:?}: {}: {told}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// Runs our command, which has to fail; returns its line of error.
    pub fn fail(&self, arguments: &[String], status: i32) -> String {
        failure(&self.command(arguments).output().unwrap(), status)
    }

    fn variable(&self, name: &str) -> &str {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("{name} is not set"), |(_, value)| value)
    }

    /// The options of Cinder's real driver for a container of this server.
    pub fn driver(&self, container: &str, compression: &str, (chunk, block): (usize, usize)) -> Vec<String> {
        let (class, options) = match self.server {
            Server::S3 => (
                "cinder.backup.drivers.s3.S3BackupDriver",
                vec![
                    format!("backup_s3_endpoint_url={}", self.variable("AWS_ENDPOINT_URL")),
                    format!("backup_s3_store_access_key={}", self.variable("AWS_ACCESS_KEY_ID")),
                    format!("backup_s3_store_secret_key={}", self.variable("AWS_SECRET_ACCESS_KEY")),
                    format!("backup_s3_store_bucket={container}"),
                    format!("backup_s3_object_size={chunk}"),
                    format!("backup_s3_block_size={block}"),
                ],
            ),
            Server::Swift => (
                "cinder.backup.drivers.swift.SwiftBackupDriver",
                vec![
                    "backup_swift_auth=single_user".to_owned(),
                    "backup_swift_auth_version=1".to_owned(),
                    format!("backup_swift_auth_url={}", self.variable("ST_AUTH")),
                    format!("backup_swift_user={}", self.variable("ST_USER")),
                    format!("backup_swift_key={}", self.variable("ST_KEY")),
                    format!("backup_swift_container={container}"),
                    format!("backup_swift_object_size={chunk}"),
                    format!("backup_swift_block_size={block}"),
                ],
            ),
        };
        let compression = format!("backup_compression_algorithm={compression}");
        let options = options.into_iter().chain([compression]).flat_map(|option| ["--option".to_owned(), option]);
        words(&["--driver", class]).into_iter().chain(options).collect()
    }
}

fn unique(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    format!("{name}-{}-{now}", std::process::id())
}
