//! Websites: links, sitemaps, robots.txt, conditional requests, bounds, and what a failing page does to the rest.

use serde_json::{Value, json};

use super::stub::{Page, Stub};
use super::{books, failures, found, noted, run, set};
use crate::instance::Instance;

pub(super) fn site(stub: &Stub, more: Value) -> Value {
    let mut source = json!({"kind": "website", "start": [format!("{}/", stub.url)], "pause_ms": 0});
    source
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    source
}

pub(super) fn page(words: &str, links: &[&str]) -> Page {
    let links: String = links
        .iter()
        .map(|link| format!("<a href='{link}'>x</a>"))
        .collect();
    Page::html(&format!(
        "<html><head><title>{words}</title></head><body><p>{words}</p>{links}</body></html>"
    ))
}

pub(super) async fn uris(instance: &Instance, stub: &Stub, query: &str) -> Vec<String> {
    let found = found(instance, query).await;
    found.iter().map(|uri| uri.replace(&stub.url, "")).collect()
}

#[tokio::test]
async fn a_site_is_read_along_its_links_and_sitemaps_and_kept_up_to_date() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    stub.put(
        "/robots.txt",
        Page::of(
            200,
            format!(
                "User-agent: *\nDisallow: /secret\nSitemap: {}/map.xml",
                stub.url
            ),
        ),
    );
    let map = format!("<urlset><url><loc>{}/listed</loc></url></urlset>", stub.url);
    stub.put("/map.xml", Page::of(200, map));
    let links = [
        "/a",
        "b/?page=2#part",
        "/secret/x",
        "https://elsewhere.example/",
        "mailto:a@example.com",
        "/picture.png",
        "/old",
    ];
    stub.put(
        "/",
        page("The start about marmots.", &links).header("etag", "\"1\""),
    );
    stub.put(
        "/a",
        page("The page a about marmots.", &["/deep"])
            .header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    );
    stub.put("/b/?page=2", page("The page b about marmots.", &["/a"]));
    stub.put("/deep", page("The deep page about marmots.", &[]));
    stub.put("/listed", page("The listed page about marmots.", &[]));
    stub.put("/secret/x", page("The secret page about marmots.", &[]));
    stub.put(
        "/picture.png",
        Page::of(200, "x").header("content-type", "image/png"),
    );
    stub.put("/old", Page::of(301, "").header("location", "/moved"));
    stub.put(
        "/moved",
        page("The moved page about marmots.", &["/hidden"]),
    );
    let hidden = "<meta name=robots content=noindex><p>The hidden page about marmots.</p><a href=/behind>x</a>";
    stub.put("/hidden", Page::html(hidden));
    stub.put("/behind", page("The page behind about marmots.", &[]));
    assert_eq!(
        set(&instance, "site", site(&stub, json!({}))).await.status,
        200
    );
    let first = run(&instance, json!({})).await;
    let all = [
        "/",
        "/a",
        "/b/?page=2",
        "/behind",
        "/deep",
        "/listed",
        "/moved",
    ];
    assert_eq!(books(&first), ("SUCCEEDED", [7, 0, 0, 0]), "{first}");
    assert_eq!(uris(&instance, &stub, "marmots").await, all);
    let lines = stub.lines();
    assert!(
        !lines.iter().any(|line| line.contains("/secret")),
        "{lines:?}"
    );
    assert_eq!(
        lines.iter().filter(|line| *line == "GET /a").count(),
        1,
        "{lines:?}"
    );

    // Nothing changed: what has a validator is not sent again.
    let same = run(&instance, json!({})).await;
    assert_eq!(books(&same), ("SUCCEEDED", [0, 7, 0, 0]), "{same}");
    let asked = stub.asked();
    let header = |line: &str, name: &str| {
        let asked = asked.iter().find(|one| one.line == line).unwrap();
        asked.headers.get(name).cloned()
    };
    assert_eq!(header("GET /", "if-none-match").as_deref(), Some("\"1\""));
    assert_eq!(
        header("GET /a", "if-modified-since").as_deref(),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
    assert!(
        header("GET /", "user-agent")
            .unwrap()
            .starts_with("outcrop/")
    );

    // One changes, one is new, one is gone.
    stub.put("/deep", page("The deep page about ibexes.", &["/new"]));
    stub.put("/new", page("The new page about ibexes.", &[]));
    stub.remove("/listed");
    let changed = run(&instance, json!({})).await;
    assert_eq!(books(&changed), ("SUCCEEDED", [2, 5, 1, 0]), "{changed}");
    assert_eq!(uris(&instance, &stub, "ibexes").await, ["/deep", "/new"]);
    assert_eq!(noted(&instance, "site").await["documents"], 7);
}

#[tokio::test]
async fn a_page_that_fails_is_told_and_stays_and_so_do_the_pages_behind_it() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    stub.put("/", page("The start about marmots.", &["/hub", "/other"]));
    stub.put("/hub", page("The hub about marmots.", &["/leaf"]));
    stub.put("/leaf", page("The leaf about marmots.", &[]));
    stub.put("/other", page("The other about marmots.", &[]));
    set(&instance, "site", site(&stub, json!({}))).await;
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [4, 0, 0, 0])
    );

    stub.put("/hub", Page::of(500, ""));
    stub.remove("/other");
    let broken = run(&instance, json!({})).await;
    assert_eq!(books(&broken), ("PARTIAL", [0, 2, 1, 1]), "{broken}");
    let failed = failures(&broken);
    assert!(
        failed.len() == 1
            && failed[0].0 == "PageUnreadable"
            && failed[0].1.starts_with("site/hub-"),
        "{failed:?}"
    );
    assert_eq!(
        uris(&instance, &stub, "marmots").await,
        ["/", "/hub", "/leaf"]
    );
    let listed = instance.get("/v1/documents?status=failed").await.body;
    assert_eq!(
        listed["documents"][0]["error"], "PageUnreadable",
        "{listed}"
    );

    // It is back as it was: nothing is embedded again.
    stub.put("/hub", page("The hub about marmots.", &["/leaf"]));
    let mended = run(&instance, json!({})).await;
    assert_eq!(books(&mended), ("SUCCEEDED", [0, 3, 0, 0]), "{mended}");
    let listed = instance.get("/v1/documents?status=failed").await.body;
    assert_eq!(listed["documents"], json!([]));
}

#[tokio::test]
async fn a_site_that_is_lost_deletes_nothing() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    stub.put("/", page("The start about marmots.", &["/a"]));
    stub.put("/a", page("The page a about marmots.", &[]));
    set(&instance, "site", site(&stub, json!({}))).await;
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [2, 0, 0, 0])
    );
    let check = async |place: &str, lost: Page, error: &str| {
        stub.put(place, lost);
        let run = run(&instance, json!({})).await;
        assert_eq!(failures(&run), [(error, "site/")], "{run}");
        assert_eq!(run["counts"]["deleted"], 0);
        assert_eq!(noted(&instance, "site").await["error"], error);
        assert_eq!(uris(&instance, &stub, "marmots").await, ["/", "/a"]);
    };
    check("/", Page::of(404, ""), "StartMissing").await;
    check(
        "/",
        Page::of(302, "").header("location", "https://login.example/"),
        "StartMissing",
    )
    .await;
    check("/", Page::of(403, ""), "PageRefused").await;
    check("/robots.txt", Page::of(500, ""), "RobotsUnreadable").await;
    // Another brake: a site that suddenly is one page.
    stub.put("/robots.txt", Page::of(404, ""));
    for name in ["/b", "/c", "/d"] {
        stub.put(name, page("Another about marmots.", &[]));
    }
    stub.put(
        "/",
        page("The start about marmots.", &["/a", "/b", "/c", "/d"]),
    );
    assert_eq!(run(&instance, json!({})).await["status"], "SUCCEEDED");
    stub.put("/", page("The start about marmots.", &[]));
    let braked = run(&instance, json!({})).await;
    assert_eq!(
        (&braked["status"], &braked["error"]),
        (&json!("STOPPED"), &json!("BrakePulled"))
    );
    assert_eq!(uris(&instance, &stub, "marmots").await.len(), 5);
    // It comes back, and nothing was lost; or it does not, and somebody says so.
    stub.put(
        "/",
        page("The start about marmots.", &["/a", "/b", "/c", "/d"]),
    );
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [0, 5, 0, 0])
    );
    stub.put("/", page("The start about marmots.", &[]));
    let allowed = run(&instance, json!({"allow_deletions": true})).await;
    assert_eq!(books(&allowed), ("SUCCEEDED", [1, 0, 4, 0]), "{allowed}");
    assert_eq!(uris(&instance, &stub, "marmots").await, ["/"]);
}

#[tokio::test]
async fn a_busy_site_is_left_alone_and_the_crawl_goes_on_where_it_stood() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    stub.put("/", page("The start about marmots.", &["/a", "/b"]));
    let busy = page("The page a about marmots.", &[])
        .after(429, Some("1"))
        .after(503, Some("1"));
    stub.put("/a", busy);
    stub.put("/b", page("The page b about marmots.", &[]));
    set(&instance, "site", site(&stub, json!({}))).await;
    assert_eq!(
        books(&run(&instance, json!({})).await),
        ("SUCCEEDED", [3, 0, 0, 0])
    );
    let lines = stub.lines();
    let times = |line: &str| lines.iter().filter(|one| *one == line).count();
    assert_eq!(
        (times("GET /"), times("GET /a"), times("GET /b")),
        (1, 3, 1),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_crawl_keeps_within_its_bounds() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    stub.put("/", page("The start about marmots.", &["/1"]));
    for number in 1..40 {
        stub.put(
            &format!("/{number}"),
            page(
                &format!("Page {number} about marmots."),
                &[&format!("/{}", number + 1)],
            ),
        );
    }
    set(&instance, "site", site(&stub, json!({"depth": 3}))).await;
    run(&instance, json!({})).await;
    assert_eq!(
        uris(&instance, &stub, "marmots").await,
        ["/", "/1", "/2", "/3"]
    );
    // Over many slices, and no further than so many pages.
    set(
        &instance,
        "site",
        site(&stub, json!({"depth": 100, "pages": 30})),
    )
    .await;
    let longer = run(&instance, json!({})).await;
    assert_eq!(books(&longer), ("SUCCEEDED", [26, 4, 0, 0]), "{longer}");
    // Fewer pages than are held: what was not met is asked itself and stays.
    set(
        &instance,
        "site",
        site(&stub, json!({"depth": 100, "pages": 10})),
    )
    .await;
    let fewer = run(&instance, json!({})).await;
    assert_eq!(books(&fewer), ("SUCCEEDED", [0, 30, 0, 0]), "{fewer}");
    // The source is removed: its documents go, once somebody lets the brake off.
    let path = "/v1/spaces/default/sources/site";
    instance
        .send(instance.request(reqwest::Method::DELETE, path))
        .await;
    assert_eq!(run(&instance, json!({})).await["error"], "BrakePulled");
    let removed = run(&instance, json!({"allow_deletions": true})).await;
    assert_eq!(books(&removed), ("SUCCEEDED", [0, 0, 30, 0]), "{removed}");
    let listed = instance.get("/v1/spaces/default/sources").await.body;
    assert_eq!(listed["sources"], json!([]));
}

#[tokio::test]
async fn a_source_that_is_removed_during_a_run_goes_with_the_next() {
    let instance = Instance::start().await;
    let (first, second) = (Stub::start().await, Stub::start().await);
    first.put("/", page("The first site about marmots.", &[]));
    second.put("/", page("The second site about marmots.", &[]));
    set(&instance, "first", site(&first, json!({}))).await;
    set(&instance, "second", site(&second, json!({}))).await;
    run(&instance, json!({})).await;
    second.lines();
    let busy = page("The second site about marmots.", &[]).after(429, Some("2"));
    second.put("/", busy);
    let held = instance.post("/v1/runs", &json!({})).await;
    while !second.lines().contains(&"GET /".to_owned()) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The first was asked by now, and the second wants to be left alone.
    let path = "/v1/spaces/default/sources/first";
    instance
        .send(instance.request(reqwest::Method::DELETE, path))
        .await;
    instance
        .finished(held.body["run_id"].as_str().unwrap())
        .await;
    run(&instance, json!({"allow_deletions": true})).await;
    let left = [format!("{}/", second.url)];
    assert_eq!(found(&instance, "marmots").await, left);
    let listed = instance.get("/v1/spaces/default/sources").await.body;
    assert_eq!(listed["sources"].as_array().unwrap().len(), 1, "{listed}");
}
