use super::*;

#[test]
fn only_public_addresses_are_asked() {
    let check = |address: &str, deployed: bool, laptop: bool| {
        let parsed: IpAddr = address.parse().unwrap();
        let found = (is_public(parsed, false), is_public(parsed, true));
        assert_eq!(found, (deployed, laptop), "{address}");
    };
    for public in [
        "8.8.8.8",
        "100.63.0.1",
        "100.128.0.1",
        "172.32.0.1",
        "2600:1f18::1",
        "::ffff:8.8.8.8",
    ] {
        check(public, true, true);
    }
    for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        check(loopback, false, true);
    }
    for private in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "198.19.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "fc00::1",
        "ff02::1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:db8::1",
        "2001::1",
        "::ffff:169.254.169.254",
    ] {
        check(private, false, false);
    }
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_before_anything_is_sent() {
    let check = async |allow_loopback: bool, url: &str| {
        let web = Web {
            connector: Arc::default(),
            allow_loopback,
        };
        let request = WebRequest {
            url: url.to_owned(),
            limit: 10,
            ..WebRequest::default()
        };
        web.send(request).await.unwrap_err()
    };
    for url in [
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
        "http://localhost:1/",
        "http://169.254.169.254/latest",
    ] {
        let error = check(false, url).await;
        assert!(
            matches!(error, WebError::AddressRefused { .. }),
            "{url}: {error:?}"
        );
    }
    let error = check(true, "http://[fe80::1]:1/").await;
    assert!(
        matches!(error, WebError::AddressRefused { .. }),
        "{error:?}"
    );
    for url in ["http://localhost:1/", "http://127.0.0.1:1/"] {
        let error = check(true, url).await;
        assert!(
            matches!(error, WebError::Unreachable { .. }),
            "{url}: {error:?}"
        );
    }
    for url in [
        "file:///etc/passwd",
        "gopher://a/",
        "/path",
        "no url at all",
    ] {
        let error = check(true, url).await;
        assert!(
            matches!(error, WebError::InvalidUrl { .. }),
            "{url}: {error:?}"
        );
    }
}

#[test]
fn secrets_go_over_https_or_stay_on_the_laptop() {
    let check = |url: &str, deployed: bool, laptop: bool| {
        let keeps = [false, true].map(|allow_loopback| {
            let web = Web {
                connector: Arc::default(),
                allow_loopback,
            };
            web.keeps_secrets(url)
        });
        assert_eq!(keeps, [deployed, laptop], "{url}");
    };
    check("https://example.com/", true, true);
    check("HTTPS://example.com/", true, true);
    check("http://example.com/", false, false);
    check("http://127.0.0.1.example.com/", false, false);
    for own in [
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://[::1]:1/",
    ] {
        check(own, false, true);
    }
    check("ftp://127.0.0.1/", false, false);
    check("no url", false, false);
}
