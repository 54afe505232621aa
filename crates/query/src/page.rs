//! The page: three files in the binary, served under a policy that lets nothing else in.

use aws::lambda::Reply;
use http::StatusCode;
use knowledge::http::text;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn index() -> Reply {
    file("text/html; charset=utf-8", include_str!("page/index.html"))
}

pub(crate) fn script() -> Reply {
    file(
        "text/javascript; charset=utf-8",
        include_str!("page/app.js"),
    )
}

pub(crate) fn style() -> Reply {
    file("text/css; charset=utf-8", include_str!("page/app.css"))
}

fn file(content_type: &str, body: &str) -> Reply {
    let mut reply = text(StatusCode::OK, content_type, body.to_owned());
    if let Reply::Buffered { head, .. } = &mut reply {
        head.headers
            .push(("content-security-policy", POLICY.to_owned()));
    }
    reply
}
