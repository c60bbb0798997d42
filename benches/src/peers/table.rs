//! The tools: no encryption where they can be told to leave it, and the compression that they call fast.

use super::recipe::{Recipe, Restore, Verify};

/// All tools that are measured, in the order of the tables.
pub const TOOLS: [&Recipe; 11] =
    [&CINDERBLOCK, &BORG, &BORG_FIXED, &RESTIC, &RUSTIC, &KOPIA, &BUPSTASH, &BENJI, &CASYNC, &BUP, &ZBACKUP];

/// Tools for the same purpose that can't be measured here, and why.
pub const LEFT_OUT: [(&str, &str); 1] =
    [("proxmox-backup-client", "it stores nothing by itself, but needs a Proxmox Backup Server")];

/// This project's command.
pub const CINDERBLOCK: Recipe = Recipe {
    name: "cinderblock",
    program: "cinderblock",
    version: &["--version"],
    settings: "",
    environment: &[],
    folders: &[],
    files: &[],
    init: &[&["cinderblock", "--repo", "{repository}", "--cache-dir", "{cache}", "init"]],
    backup: &[
        "cinderblock",
        "--repo",
        "{repository}",
        "--cache-dir",
        "{cache}",
        "backup",
        "{source}",
        "--volume-id",
        "{volume}",
        "--backup-id",
        "{uuid}",
    ],
    restore: Restore::File {
        new: &["cinderblock", "--repo", "{repository}", "--cache-dir", "{cache}", "restore", "{uuid}", "{target}"],
        over: Some(&[
            "cinderblock",
            "--repo",
            "{repository}",
            "--cache-dir",
            "{cache}",
            "restore",
            "{uuid}",
            "{target}",
            "--existing",
        ]),
    },
    verify: Verify::All(&["cinderblock", "--repo", "{repository}", "--cache-dir", "{cache}", "verify", "--read-data"]),
};

/// BorgBackup as it comes: chunks cut by content, 2 MiB on average.
pub const BORG: Recipe = Recipe {
    name: "borg",
    program: "borg",
    version: &["--version"],
    settings: "`-C zstd,1`, no encryption",
    environment: &[
        ("BORG_REPO", "{repository}"),
        ("BORG_BASE_DIR", "{home}"),
        ("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes"),
    ],
    folders: &[],
    files: &[],
    init: &[&["borg", "init", "-e", "none"]],
    backup: &["borg", "create", "-C", "zstd,1", "--files-cache", "disabled", "--sparse", "::b{backup}", "{source}"],
    restore: Restore::Folder(&["borg", "extract", "--sparse", "::b{backup}"]),
    verify: Verify::All(&["borg", "check", "--verify-data"]),
};

/// BorgBackup with chunks of 64 KiB on a grid, as its manual wants it for block devices.
pub const BORG_FIXED: Recipe = Recipe {
    name: "borg-fixed",
    settings: "as borg, with `--chunker-params fixed,65536`",
    backup: &[
        "borg",
        "create",
        "-C",
        "zstd,1",
        "--chunker-params",
        "fixed,65536",
        "--files-cache",
        "disabled",
        "--sparse",
        "::b{backup}",
        "{source}",
    ],
    ..BORG
};

/// restic.
pub const RESTIC: Recipe = Recipe {
    name: "restic",
    program: "restic",
    version: &["version"],
    settings: "always encrypts; its fastest compression",
    environment: &[
        ("RESTIC_PASSWORD", "none"),
        ("RESTIC_REPOSITORY", "{repository}"),
        ("RESTIC_CACHE_DIR", "{cache}"),
        ("HOME", "{home}"),
    ],
    folders: &[],
    files: &[],
    init: &[&["restic", "init"]],
    backup: &["restic", "backup", "fastest?--compression=fastest", "--force", "--tag", "b{backup}", "{source}"],
    restore: Restore::Folder(&[
        "restic",
        "restore",
        "latest",
        "--tag",
        "b{backup}",
        "--sparse?--sparse",
        "--target",
        "{folder}",
    ]),
    verify: Verify::All(&["restic", "check", "--read-data"]),
};

/// rustic.
pub const RUSTIC: Recipe = Recipe {
    name: "rustic",
    program: "rustic",
    version: &["--version"],
    settings: "always encrypts; `--set-compression 1`",
    environment: &[
        ("RUSTIC_PASSWORD", "none"),
        ("RUSTIC_REPOSITORY", "{repository}"),
        ("RUSTIC_CACHE_DIR", "{cache}"),
        ("RUSTIC_NO_PROGRESS", "true"),
        ("HOME", "{home}"),
    ],
    folders: &[],
    files: &[],
    init: &[&["rustic", "init", "--set-compression", "1"]],
    backup: &["rustic", "backup", "--force", "--tag", "b{backup}", "{source}"],
    restore: Restore::Folder(&["rustic", "restore", "latest", "--filter-tags", "b{backup}", "{folder}"]),
    verify: Verify::All(&["rustic", "check", "--read-data"]),
};

/// Kopia.
pub const KOPIA: Recipe = Recipe {
    name: "kopia",
    program: "kopia",
    version: &["--version"],
    settings: "always encrypts; `zstd-fastest`",
    environment: &[
        ("KOPIA_PASSWORD", "none"),
        ("KOPIA_CONFIG_PATH", "{home}/kopia.config"),
        ("KOPIA_CACHE_DIRECTORY", "{cache}"),
        ("KOPIA_LOG_DIR", "{home}"),
        ("KOPIA_CHECK_FOR_UPDATES", "false"),
        ("HOME", "{home}"),
    ],
    folders: &["{repository}"],
    files: &[],
    init: &[
        &["kopia", "repository", "create", "filesystem", "--path", "{repository}"],
        &["kopia", "policy", "set", "--global", "--compression", "zstd-fastest"],
    ],
    backup: &["kopia", "snapshot", "create", "--force-hash", "100", "{source}"],
    restore: Restore::File {
        new: &["kopia", "snapshot", "restore", "--snapshot-time", "latest", "{source}", "{target}"],
        over: Some(&["kopia", "snapshot", "restore", "--snapshot-time", "latest", "{source}", "{target}"]),
    },
    verify: Verify::All(&["kopia", "snapshot", "verify", "--verify-files-percent", "100"]),
};

/// bupstash.
pub const BUPSTASH: Recipe = Recipe {
    name: "bupstash",
    program: "bupstash",
    version: &["--version"],
    settings: "always encrypts; its own compression",
    environment: &[("BUPSTASH_REPOSITORY", "{repository}"), ("BUPSTASH_KEY", "{home}/key"), ("HOME", "{home}")],
    folders: &[],
    files: &[],
    init: &[&["bupstash", "init"], &["bupstash", "new-key", "-o", "{home}/key"]],
    backup: &["bupstash", "put", "--no-send-log", "-q", "backup=b{backup}", "{source}"],
    restore: Restore::File { new: &[">{target}", "bupstash", "get", "-q", "backup=b{backup}"], over: None },
    verify: Verify::Never,
};

/// Benji.
pub const BENJI: Recipe = Recipe {
    name: "benji",
    program: "benji",
    version: &["-c", "{home}/benji.yaml", "version-info"],
    settings: "blocks of 4 MiB, its default; zstd level 1",
    environment: &[("HOME", "{home}")],
    folders: &["{repository}/data"],
    files: &[(
        "{home}/benji.yaml",
        "configurationVersion: '1'
databaseEngine: sqlite:///{repository}/benji.sqlite
defaultStorage: folder
hashFunction: BLAKE2b,digest_bits=256
processName: benji
storages:
  - name: folder
    storageId: 1
    module: file
    configuration:
      path: {repository}/data
      activeTransforms: [zstd]
transforms:
  - name: zstd
    module: zstd
    configuration:
      level: 1
ios:
  - name: file
    module: file
",
    )],
    init: &[&["benji", "-c", "{home}/benji.yaml", "database-init"]],
    backup: &["benji", "-c", "{home}/benji.yaml", "backup", "--uid", "b{backup}", "file:{source}", "{volume}"],
    restore: Restore::File {
        new: &["benji", "-c", "{home}/benji.yaml", "restore", "--sparse", "b{backup}", "file:{target}"],
        over: Some(&["benji", "-c", "{home}/benji.yaml", "restore", "--force", "b{backup}", "file:{target}"]),
    },
    verify: Verify::Each(&["benji", "-c", "{home}/benji.yaml", "deep-scrub", "b{backup}"]),
};

/// casync.
pub const CASYNC: Recipe = Recipe {
    name: "casync",
    program: "casync",
    version: &["--version"],
    settings: "`--compression=zstd`; it can't read an older version as seed in its place (\"stale file handle\"), so it is told not to",
    environment: &[("HOME", "{home}")],
    folders: &["{repository}"],
    files: &[],
    init: &[],
    backup: &[
        "casync",
        "make",
        "--store={repository}/store",
        "--compression=zstd",
        "{repository}/b{backup}.caibx",
        "{source}",
    ],
    restore: Restore::File {
        new: &["casync", "extract", "--store={repository}/store", "{repository}/b{backup}.caibx", "{target}"],
        over: Some(&[
            "casync",
            "extract",
            "--seed-output=no",
            "--store={repository}/store",
            "{repository}/b{backup}.caibx",
            "{target}",
        ]),
    },
    verify: Verify::Never,
};

/// bup.
pub const BUP: Recipe = Recipe {
    name: "bup",
    program: "bup",
    version: &["--version"],
    settings: "`split` and `join`; zlib level 1, its default",
    environment: &[("BUP_DIR", "{repository}"), ("HOME", "{home}")],
    folders: &[],
    files: &[],
    init: &[&["bup", "init"]],
    backup: &["bup", "split", "-q", "-n", "b{backup}", "{source}"],
    restore: Restore::File { new: &[">{target}", "bup", "join", "b{backup}"], over: None },
    verify: Verify::All(&["bup", "fsck"]),
};

/// ZBackup.
pub const ZBACKUP: Recipe = Recipe {
    name: "zbackup",
    program: "zbackup",
    version: &["--help"],
    settings: "LZO",
    environment: &[("HOME", "{home}")],
    folders: &[],
    files: &[],
    init: &[&["zbackup", "--non-encrypted", "--silent", "-o", "bundle.compression_method=lzo", "init", "{repository}"]],
    backup: &["<{source}", "zbackup", "--non-encrypted", "--silent", "backup", "{repository}/backups/b{backup}"],
    restore: Restore::File {
        new: &[">{target}", "zbackup", "--non-encrypted", "--silent", "restore", "{repository}/backups/b{backup}"],
        over: None,
    },
    verify: Verify::Never,
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_tool_has_a_name_of_its_own_and_its_commands_name_their_source_target_and_backup() {
        let names: HashSet<_> = TOOLS.iter().map(|tool| tool.name).collect();
        assert_eq!(names.len(), TOOLS.len());
        for tool in TOOLS {
            assert!(tool.backup.iter().any(|word| word.contains("{source}")), "{}", tool.name);
            let restores = match tool.restore {
                Restore::File { new, over } => [Some(new), over].into_iter().flatten().collect(),
                Restore::Folder(words) => vec![words],
            };
            for words in restores {
                let has = |name: &str| words.iter().any(|word| word.contains(name));
                assert!(has("{backup}") || has("{uuid}") || has("{source}"), "{}: {words:?}", tool.name);
                assert!(matches!(tool.restore, Restore::Folder(_)) || has("{target}"), "{}: {words:?}", tool.name);
            }
        }
    }
}
