//! Websites: links, sitemaps, robots.txt, conditional requests, bounds, and what a failing page does to the rest.

use serde_json::{Value, json};

use super::stub::{Page, Stub};
use super::{books, failures, found, noted, run, set};
use crate::instance::Instance;

fn site(stub: &Stub, more: Value) -> Value {
    let mut source = json!({"kind": "website", "start": [format!("{}/", stub.url)], "pause_ms": 0});
    source
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    source
}

fn page(words: &str, links: &[&str]) -> Page {
    let links: String = links
        .iter()
        .map(|link| format!("<a href='{link}'>x</a>"))
        .collect();
    Page::html(&format!(
        "<html><head><title>{words}</title></head><body><p>{words}</p>{links}</body></html>"
    ))
}

async fn uris(instance: &Instance, stub: &Stub, query: &str) -> Vec<String> {
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

#[tokio::test]
async fn a_sitemap_that_cannot_be_read_deletes_nothing() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    let robots = format!("User-agent: *\nSitemap: {}/map.xml", stub.url);
    stub.put("/robots.txt", Page::of(200, robots));
    let map = |places: &[String]| {
        let listed = places
            .iter()
            .map(|place| format!("<url><loc>{}{place}</loc></url>", stub.url));
        Page::of(
            200,
            format!("<urlset>{}</urlset>", listed.collect::<String>()),
        )
    };
    let index = |places: &[String]| {
        let listed = places
            .iter()
            .map(|place| format!("<sitemap><loc>{}{place}</loc></sitemap>", stub.url));
        let listed: String = listed.collect();
        Page::of(200, format!("<sitemapindex>{listed}</sitemapindex>"))
    };
    stub.put("/", page("The start about marmots.", &[]));
    stub.put("/x", page("The page x about marmots.", &[]));
    stub.put("/map.xml", map(&["/x".to_owned()]));
    set(&instance, "site", site(&stub, json!({}))).await;
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [2, 0, 0, 0]), "{first}");
    let same = async |why: &str| {
        let run = run(&instance, json!({})).await;
        assert_eq!(books(&run), ("SUCCEEDED", [0, 2, 0, 0]), "{why}: {run}");
    };
    stub.put("/map.xml", Page::of(403, ""));
    same("it is refused").await;
    stub.put("/map.xml", Page::of(500, ""));
    same("it fails").await;
    stub.put("/map.xml", Page::html("<h1>We will be back soon</h1>"));
    same("it is another page").await;
    stub.put(
        "/map.xml",
        Page::of(301, "").header("location", "/map2.xml"),
    );
    stub.put("/map2.xml", map(&["/x".to_owned()]));
    same("it moved").await;
    // More sitemaps than are read: what only the last one lists is not gone.
    let many: Vec<String> = (0..205).map(|number| format!("/maps/{number}")).collect();
    for place in &many {
        stub.put(place, map(&["/".to_owned()]));
    }
    stub.put(&many[204], map(&["/x".to_owned()]));
    stub.put("/map.xml", index(&many));
    same("it is one of too many").await;
    // One that is gone lists nothing any more.
    stub.put("/map.xml", Page::of(404, ""));
    let gone = run(&instance, json!({"allow_deletions": true})).await;
    assert_eq!(books(&gone), ("SUCCEEDED", [0, 1, 1, 0]), "{gone}");
}

#[tokio::test]
async fn what_the_site_closes_to_us_goes_even_when_the_crawl_is_not_whole() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    let leaves = ["/hub", "/closed", "/unlisted", "/tagged", "/open"];
    stub.put("/", page("The start about marmots.", &["/hub"]));
    stub.put("/hub", page("The hub about marmots.", &leaves[1..]));
    for leaf in &leaves[1..] {
        stub.put(leaf, page("A leaf about marmots.", &[]));
    }
    set(&instance, "site", site(&stub, json!({}))).await;
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [6, 0, 0, 0]), "{first}");
    // The hub leads elsewhere now, and another page fails: the leaves are asked themselves.
    stub.put("/hub", page("The hub about marmots.", &["/broken"]));
    stub.put("/broken", Page::of(500, ""));
    let rules = "User-agent: *\nDisallow: /closed";
    stub.put("/robots.txt", Page::of(200, rules));
    let unlisted = "<meta name=robots content=noindex><p>A leaf about marmots.</p>";
    stub.put("/unlisted", Page::html(unlisted));
    let tagged = page("A leaf about marmots.", &[]).header("x-robots-tag", "noindex");
    stub.put("/tagged", tagged);
    stub.lines();
    let second = run(&instance, json!({"allow_deletions": true})).await;
    assert_eq!(second["counts"]["deleted"], 3, "{second}");
    assert_eq!(
        uris(&instance, &stub, "marmots").await,
        ["/", "/hub", "/open"]
    );
    assert!(!stub.lines().contains(&"GET /closed".to_owned()));
}

#[tokio::test]
async fn of_a_long_robots_txt_the_beginning_counts() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    let long = "# filling words\n".repeat(40_000);
    let rules = format!("User-agent: *\nDisallow: /secret\n{long}Disallow: /\n");
    stub.put("/robots.txt", Page::of(200, rules));
    stub.put("/", page("The start about marmots.", &["/a", "/secret"]));
    stub.put("/a", page("The page a about marmots.", &[]));
    stub.put("/secret", page("The secret about marmots.", &[]));
    set(&instance, "site", site(&stub, json!({}))).await;
    let run = run(&instance, json!({})).await;
    assert_eq!(books(&run), ("SUCCEEDED", [2, 0, 0, 0]), "{run}");
    assert_eq!(uris(&instance, &stub, "marmots").await, ["/", "/a"]);
}

#[tokio::test]
async fn a_site_is_left_alone_for_as_long_as_it_asks_for() {
    let (instance, stub) = (Instance::start().await, Stub::start().await);
    stub.put("/", page("The start about marmots.", &["/a"]));
    stub.put("/a", page("The page a about marmots.", &[]));
    set(&instance, "site", site(&stub, json!({}))).await;
    let first = run(&instance, json!({})).await;
    assert_eq!(books(&first), ("SUCCEEDED", [2, 0, 0, 0]), "{first}");
    // Longer than a run may ask: neither this run nor the next one asks again, and nothing is gone for that.
    let busy = page("The start about marmots.", &[]).after(429, Some("100000"));
    stub.put("/", busy);
    for _ in 0..2 {
        let busy = run(&instance, json!({})).await;
        assert_eq!(failures(&busy), [("SourceBusy", "site/")], "{busy}");
        assert_eq!(busy["counts"]["deleted"], 0);
    }
    let asked = stub.lines();
    let starts = asked.iter().filter(|line| *line == "GET /").count();
    assert_eq!(starts, 2, "{asked:?}");

    // So does the pause between two requests that robots.txt names.
    let rules = "User-agent: *\nCrawl-delay: 100000";
    stub.put("/robots.txt", Page::of(200, rules));
    stub.put("/", page("The start about marmots.", &["/a"]));
    set(
        &instance,
        "site",
        site(&stub, json!({"sitemap": false, "depth": 9})),
    )
    .await;
    let slow = run(&instance, json!({})).await;
    assert_eq!(failures(&slow), [("SourceBusy", "site/")], "{slow}");
    assert_eq!(stub.lines(), ["GET /robots.txt", "GET /"]);
}

#[tokio::test]
async fn a_site_that_is_busy_does_not_keep_the_others_waiting() {
    let instance = Instance::start().await;
    let (busy, other) = (Stub::start().await, Stub::start().await);
    let start = page("The busy site about marmots.", &["/a"]);
    // Longer than is sat out.
    busy.put("/", start.after(429, Some("20")));
    other.put("/", page("The other site about marmots.", &[]));
    set(&instance, "a", site(&busy, json!({"sitemap": false}))).await;
    set(&instance, "b", site(&other, json!({"sitemap": false}))).await;
    let started = instance.post("/v1/runs", &json!({})).await;
    assert_eq!(started.status, 202, "{}", started.body);
    let begun = std::time::Instant::now();
    while !other.lines().contains(&"GET /".to_owned()) {
        assert!(begun.elapsed().as_secs() < 120, "{}", instance.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(busy.lines(), ["GET /robots.txt", "GET /"]);
}

#[tokio::test]
async fn a_document_of_a_source_is_deleted_there_and_comes_back_when_its_copy_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (instance, stub) = (Instance::start_in(folder.path()).await, Stub::start().await);
    instance.ingest("site/own.txt", "An ibex of our own.").await;
    let start = page("The start about marmots.", &[]).header("etag", "\"1\"");
    stub.put("/", start);
    set(&instance, "site", site(&stub, json!({}))).await;
    run(&instance, json!({})).await;
    let listed = instance.get("/v1/documents").await.body;
    let documents = listed["documents"].as_array().unwrap();
    let id = |own: bool| {
        let one = documents
            .iter()
            .find(|one| (one["name"] == "site/own.txt") == own)
            .unwrap();
        one["document_id"].as_str().unwrap().to_owned()
    };
    let delete = async |id: &str| {
        let path = format!("/v1/documents/{id}");
        let request = instance.request(reqwest::Method::DELETE, &path);
        instance.send(request).await
    };
    let refused = delete(&id(false)).await;
    let told = (refused.status.as_u16(), refused.body["name"].as_str());
    assert_eq!(told, (409, Some("DocumentOfSource")), "{}", refused.body);
    // What lay there before the source was set is nobody else's.
    assert_eq!(delete(&id(true)).await.status, 202);

    let copies = folder.path().join("s3/outcrop-bucket/sources/default/site");
    for copy in std::fs::read_dir(&copies).unwrap() {
        std::fs::remove_file(copy.unwrap().path()).unwrap();
    }
    run(&instance, json!({})).await;
    assert_eq!(uris(&instance, &stub, "marmots").await, ["/"]);
}
