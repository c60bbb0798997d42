use std::fs;

use proptest::prelude::*;

use super::*;

const FILE: &str = "
clouds:
  north:
    auth:
      auth_url: https://keystone.example/v3
      username: alice
      password: 012345
      project_name: backups
      user_domain_name: Default
      project_domain_id: default
    region_name: RegionOne
    interface: internalURL
    cacert: /etc/ca.pem
    identity_api_version: 3
  robot:
    auth_type: v3applicationcredential
    auth:
      auth_url: https://keystone.example
      application_credential_id: abc
  empty:
";

/// A folder of configuration, and what the variables are there.
struct Home(tempfile::TempDir);

impl Home {
    fn with(files: &[(&str, &str)]) -> Home {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/openstack");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Home(home)
    }

    fn settings(&self, cloud: &str) -> Result<Settings, Error> {
        let home = self.0.path().to_str().unwrap().to_owned();
        Settings::from_variables(&|name| match name {
            "HOME" => Some(home.clone()),
            "OS_CLOUD" => Some(cloud.to_owned()),
            _ => None,
        })
    }
}

fn keystone(settings: Settings) -> Keystone {
    match settings.account {
        Account::Keystone(keystone) => *keystone,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cloud_is_read() {
    let settings = Home::with(&[("clouds.yaml", FILE)]).settings("north").unwrap();
    assert_eq!(settings.region.as_deref(), Some("RegionOne"));
    assert_eq!(settings.interface, "internal");
    assert_eq!(settings.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    let keystone = keystone(settings);
    assert_eq!(keystone.url, "https://keystone.example/v3");
    assert_eq!(keystone.project, Some(Project::Name("backups".into(), Domain::Id("default".into()))));
    // A password of digits is a text with all its zeros, not a number.
    let user = User::Name("alice".into(), Domain::Name("Default".into()));
    assert_eq!(keystone.identity, Identity::Password { user, password: Secret::new("012345") });
}

#[test]
fn secrets_are_added_from_secure_yaml() {
    let secure = "clouds: {robot: {auth: {application_credential_secret: s3cret}}, other: {}}";
    let alone = Home::with(&[("clouds.yaml", FILE)]).settings("robot");
    assert!(
        matches!(&alone, Err(Error::Missing { variable, .. })
        if variable == "application_credential_secret of robot in clouds.yaml"),
        "{alone:?}"
    );

    let keystone = keystone(Home::with(&[("clouds.yaml", FILE), ("secure.yaml", secure)]).settings("robot").unwrap());
    let credential = Credential::Id("abc".into());
    assert_eq!(keystone.identity, Identity::ApplicationCredential { credential, secret: Secret::new("s3cret") });
    assert_eq!(keystone.url, "https://keystone.example");
}

#[test]
fn a_cloud_that_is_not_there_is_named_with_the_files() {
    for files in [&[("clouds.yaml", FILE)][..], &[]] {
        match Home::with(files).settings("south") {
            Err(error @ Error::NoCloud { .. }) => {
                let text = error.to_string();
                assert!(text.contains("south") && text.contains("openstack/clouds.yaml"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(Home::with(&[("clouds.yaml", FILE)]).settings("empty"), Err(Error::Missing { .. })));
}

#[test]
fn a_file_given_by_name_comes_first() {
    let home = Home::with(&[("clouds.yaml", FILE), ("mine.yaml", "clouds: {}")]);
    let path = home.0.path().join(".config/openstack/mine.yaml").to_str().unwrap().to_owned();
    let result = Settings::from_variables(&|name| match name {
        "OS_CLIENT_CONFIG_FILE" => Some(path.clone()),
        "OS_CLOUD" => Some("north".to_owned()),
        _ => None,
    });
    assert!(matches!(result, Err(Error::NoCloud { .. })), "{result:?}");
}

#[test]
fn a_broken_file_is_told_without_its_text() {
    let broken = "clouds:\n  north:\n    auth:\n      password: [hunter2\n";
    let error = Home::with(&[("clouds.yaml", broken)]).settings("north").unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("clouds.yaml") && !shown.contains("hunter2"), "{shown}");
    let typed = "clouds:\n  north:\n    verify: hunter2\n";
    let error = Home::with(&[("clouds.yaml", typed)]).settings("north").unwrap_err();
    assert!(matches!(error, Error::Clouds { line: 3, .. }), "{error:?}");
}

#[test]
fn what_is_not_supported_is_said() {
    for (field, text) in
        [("auth_type", "auth_type: v3kerberos"), ("profile", "profile: vexxhost"), ("interface", "interface: x")]
    {
        let file =
            format!("clouds:\n  c:\n    {text}\n    auth: {{auth_url: u, username: a, password: b, project_id: p}}\n");
        match Home::with(&[("clouds.yml", &file)]).settings("c") {
            Err(Error::Invalid { setting, .. }) => assert!(setting.starts_with(field), "{setting}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_clouds_or_an_error(text in any::<String>()) {
        let _ = parse(Path::new("clouds.yaml"), &text);
    }

    #[test]
    fn a_quoted_password_comes_through_whatever_it_is(password in any::<String>()) {
        let quoted = serde_json::to_string(&password).unwrap();
        let text = format!("clouds: {{c: {{auth: {{password: {quoted}}}}}}}");
        if let Ok(mut clouds) = parse(Path::new("clouds.yaml"), &text) {
            let auth = clouds.clouds.remove("c").flatten().and_then(|cloud| cloud.auth);
            prop_assert_eq!(auth.and_then(|auth| auth.password), Some(Secret::new(password)));
        } else {
            // YAML has no way to hold some control characters as they are.
            prop_assert!(password.chars().any(|c| c.is_control() || c as u32 > 0x7e), "{password:?} was refused");
        }
    }
}
