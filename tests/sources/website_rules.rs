//! Websites: what a site does not give, closes or asks for, and what becomes of its documents then.

use serde_json::json;

use super::stub::{Page, Stub};
use super::website::{page, site, uris};
use super::{books, failures, run, set};
use crate::instance::Instance;

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
