use super::*;

fn files() -> MemoryFiles {
    let mut files = MemoryFiles::new();
    files.insert(FILE, good().to_string());
    files.insert("/etc/countersign/server.pem", "the certificate");
    files.insert("/etc/countersign/users.htpasswd", "the passwords");
    files.insert("/keys/issuer.pem", "the key");
    files
}

#[test]
fn every_named_file_is_read_with_its_identity() {
    let mut files = files();
    let config = Config::load(Path::new(FILE), &mut files).unwrap();
    let names: Vec<_> = config.files.keys().map(PathBuf::as_path).collect();
    let expected = [
        "/etc/countersign/server.pem",
        "/etc/countersign/users.htpasswd",
        "/keys/issuer.pem",
    ];
    assert_eq!(names, expected.map(Path::new));
    for (path, file) in &config.files {
        assert_eq!(files.stat(path).unwrap(), file.stamp);
    }
    assert_eq!(
        config.files[Path::new("/keys/issuer.pem")].bytes.expose(),
        b"the key"
    );
    assert!(!format!("{config:?}").contains("the key"));
}

#[test]
fn missing_files_are_told_at_the_members_that_name_them() {
    let mut files = files();
    files.remove(Path::new("/keys/issuer.pem"));
    files.remove(Path::new("/etc/countersign/server.pem"));
    let errors = Config::load(Path::new(FILE), &mut files).unwrap_err();
    let mut paths: Vec<_> = errors.iter().map(|e| e.path.as_str()).collect();
    paths.sort_unstable();
    let key = "realms.demo.loginModules[1].verification.publicKey.ES256.keyFile";
    assert_eq!(paths, [key, "servers[0].serverCertificate"]);
    for error in &errors {
        assert!(
            error.message.contains("create it, or correct the name"),
            "{error}"
        );
        assert_eq!(error.file, Path::new(FILE));
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_an_error_at_its_start() {
    let errors = Config::load(Path::new("/none"), &mut MemoryFiles::new()).unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("/none:1:1: $: there is no such file")
    );
    let mut files = MemoryFiles::new();
    files.insert("/big", vec![b' '; MAX_CONFIG_BYTES + 1]);
    let errors = Config::load(Path::new("/big"), &mut files).unwrap_err();
    assert!(errors.to_string().contains("at most 1048576 bytes"));
    files.insert("/latin", b"{\n \"\xe4\": 1}".as_slice());
    let errors = Config::load(Path::new("/latin"), &mut files).unwrap_err();
    assert_eq!(errors.to_string(), "/latin:2:3: $: not UTF-8");
}

#[test]
fn content_errors_point_into_the_named_file() {
    let config = accepted(&[]);
    let file = config.file_refs().next().unwrap();
    let error = config.file_error(file, Some(7), "no key");
    assert_eq!(
        error.to_string(),
        "/etc/countersign/server.pem:7:1: servers[0].serverCertificate: no key"
    );
    assert_eq!(config.file_error(file, None, "no key").line, 1);
    let relative = Config::parse(&good().to_string(), Path::new("c.json")).unwrap();
    assert_eq!(relative.file_refs().next().unwrap().path, Path::new("server.pem"));
}
