//! HTTP/1 heads and the framing of bodies.

use crate::feed::{self, Talk, violations};
use Side::{Client, Server};
use proptest::prelude::*;
use wire::message::http::{Body, Dissector, MAX_HEAD, MAX_TARGET, MAX_TRAILER, Request, Response};
use wire::message::{Dissector as _, Message, Next, Side};

/// The messages of `talk`, which must be the same in one piece and byte by byte.
fn tell(talk: Talk<'_>) -> Vec<Message> {
    let whole = feed::stream(&mut Dissector::default(), talk, usize::MAX);
    assert_eq!(feed::stream(&mut Dissector::default(), talk, 1), whole);
    whole
}

/// A short form of the messages, for framing.
fn brief(messages: &[Message]) -> String {
    let words: Vec<String> = messages
        .iter()
        .map(|m| match m {
            Message::HttpRequest(r) => format!("{} {}", r.method, r.target),
            Message::HttpResponse(r) => r.status.to_string(),
            Message::HttpBody(b) => format!("{}={}", if b.request { "sent" } else { "got" }, b.bytes),
            Message::Violation(v) => format!("!{}", v.what),
            other => panic!("{other:?}"),
        })
        .collect();
    words.join(", ")
}

#[test]
fn a_request_head_is_read() {
    let head = "POST /a?b=c HTTP/1.1\r\nHoSt:  Example.COM \r\nUser-Agent: probe/1 (x)\r\nX-Y: z\r\nContent-Length: 2\r\n\r\n";
    let expected = Request {
        method: "POST".into(),
        target: "/a?b=c".into(),
        host: Some("example.com".into()),
        user: None,
        user_agent: Some("probe/1 (x)".into()),
        minor: 1,
        content_length: Some(2),
        chunked: false,
        fields: 4,
        head_bytes: head.len() as u32,
        depth: 0,
    };
    let told = tell(&[(Client, format!("{head}ok").as_bytes())]);
    assert_eq!(
        told,
        [Message::HttpRequest(expected), Message::HttpBody(Body { request: true, bytes: 2, user: None })]
    );
}

#[test]
fn who_logs_in_is_told_with_the_body_or_the_head() {
    let form = "user=anna&password=x";
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    let basic = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YWRtaW46eA==\r\n\r\n";
    let told = tell(&[(Client, format!("{head}{form}{head}q=1&r=2&s=3&t=4&u=5{basic}").as_bytes())]);
    let users: Vec<Option<&str>> = told
        .iter()
        .map(|m| match m {
            Message::HttpRequest(r) => r.user.as_deref(),
            Message::HttpBody(b) => b.user.as_deref(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(users, [None, Some("anna"), None, None, Some("admin")]);
}

#[test]
fn a_response_head_is_read() {
    let head = "HTTP/1.0 404 Not Found\r\nServer: Web/2\r\nContent-Type: Text/HTML; charset=x\r\nContent-Length: 0\r\n\r\n";
    let expected = Response {
        status: 404,
        minor: 0,
        content_length: Some(0),
        content_type: Some("text/html".into()),
        server: Some("Web/2".into()),
        head_bytes: head.len() as u32,
    };
    assert_eq!(tell(&[(Server, head.as_bytes())]), [Message::HttpResponse(expected)]);
}

#[test]
fn long_values_are_cut_and_odd_bytes_replaced() {
    let target = format!("/{}", "a".repeat(4000));
    let told = tell(&[(Client, format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes())]);
    let [Message::HttpRequest(request)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(&*request.target, &target[..MAX_TARGET]);
    let told = tell(&[(Client, b"GET /\xff HTTP/1.0\r\n\r\n")]);
    assert_eq!(brief(&told), "GET /\u{fffd}");
}

#[test]
fn bodies_are_framed() {
    let check = |talk: Talk<'_>, expected: &str| assert_eq!(brief(&tell(talk)), expected);
    let get: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
    check(
        &[
            (Client, b"GET /1 HTTP/1.0\r\n\r\nPUT /2 HTTP/1.0\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.0\r\n\r\n"),
            (Server, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            (Server, b"HTTP/1.1 201 \r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 None\r\n\r\n"),
        ],
        "GET /1, PUT /2, sent=3, GET /3, 200, got=5, 201, 204",
    );
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;a=b\r\nhello\r\n1f \r\n0123456789012345678901234567890\r\n0\r\nX: y\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n";
    check(&[(Client, get), (Server, chunked)], "GET /, 200, got=36, 500");
    check(
        &[(Client, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /b HTTP/1.0\r\n\r\n")],
        "POST /, sent=3, GET /b",
    );
    // No body whatever the fields say.
    let long = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
    let head: &[u8] = b"HEAD / HTTP/1.0\r\n\r\nGET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n";
    check(&[(Client, head), (Server, long)], "HEAD /, GET /a, GET /b, 200, 304, 404");
    // An interim response leaves the request waiting.
    let interim = b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
    check(&[(Client, b"HEAD / HTTP/1.0\r\n\r\n"), (Server, interim)], "HEAD /, 100, 200, 404");
    // Without a length until the end.
    check(&[(Client, get), (Server, b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 404 No\r\n\r\n")], "GET /, 200");
    // Not HTTP any more.
    check(
        &[
            (Client, b"CONNECT a:443 HTTP/1.0\r\n\r\n"),
            (Server, b"HTTP/1.1 200 OK\r\n\r\n\x16\x03"),
            (Client, b"\x16\x03\x01\x02\0"),
        ],
        "CONNECT a:443, 200",
    );
    check(&[(Client, get), (Server, b"HTTP/1.1 101 Switch\r\n\r\n\x81\x05")], "GET /, 101");
    check(&[(Client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")], "");
    // Empty lines before a message.
    check(&[(Client, b"\r\n\r\nGET / HTTP/1.0\r\n\r\n\r\nGET /a HTTP/1.0\r\n\r\n")], "GET /, GET /a");
}

#[test]
fn requests_count_their_depth() {
    let talk = b"GET / HTTP/1.0\r\n\r\n".repeat(100);
    let told = tell(&[(Client, &talk)]);
    let depths: Vec<u16> = told
        .iter()
        .filter_map(|m| if let Message::HttpRequest(r) = m { Some(r.depth) } else { None })
        .collect();
    assert_eq!(depths, (0..100).collect::<Vec<u16>>());
}

#[test]
fn large_bodies_are_left_out_unseen() {
    let mut dissector = Dissector::default();
    let mut out = Vec::new();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let bytes = [&head[..], &[0; 100]].concat();
    let progress = dissector.data(Server, &bytes, &mut out);
    assert_eq!((progress.consumed, progress.next), (bytes.len(), Next::Skip(1_000_000 - 101)));
    assert_eq!(brief(&out), "200");
    let progress = dissector.data(Server, b"x", &mut out);
    assert_eq!((progress.consumed, progress.next), (1, Next::More));
    assert_eq!(brief(&out), "200, got=1000000");
}

#[test]
fn reading_resumes_after_a_gap() {
    let mut dissector = Dissector::default();
    let mut out = Vec::new();
    dissector.data(Client, b"GET / HTTP/1.0\r\nCoo", &mut out);
    assert_eq!(dissector.gap(Client, 100), Next::More);
    dissector.data(Client, b"kie: x\r\n\r\n", &mut out);
    dissector.data(Client, b"GET /b HTTP/1.0\r\n\r\n", &mut out);
    // Within a body of a stated length nothing is lost but bytes.
    dissector.data(Server, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", &mut out);
    assert_eq!(dissector.gap(Server, 900), Next::More);
    dissector.data(Server, &[b'x'; 100], &mut out);
    assert_eq!(brief(&out), "GET /b, 200, got=1000");
}

#[test]
fn violations_of_heads_are_told() {
    let check = |side, bytes: &str, expected: &[&str]| {
        assert_eq!(violations(&tell(&[(side, bytes.as_bytes())])), expected, "{bytes:?}");
    };
    let request = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let fields = |fields: &str, expected: &str| check(Client, &request(fields), &[expected]);
    for line in ["GET /", "GET  HTTP/1.1", "GET / HTTP/11", "GET / HTTP/3.0", "GET / http/1.1"] {
        check(Client, &format!("{line}\r\n\r\n"), &["bad_request_line"]);
    }
    for line in ["HTTP/1.1 20", "HTTP/1.1 2000 OK", "HTTP/1.1", "HTTP/2 200", "HTTP/1.1 099 x"] {
        check(Server, &format!("{line}\r\n\r\n"), &["bad_status_line"]);
    }
    // Behind a message, anything that is none breaks a rule.
    check(Server, "HTTP/1.1 204 x\r\n\r\nbody all the same\r\n", &["bad_status_line"]);
    check(Client, "GET / HTTP/1.0\r\n\r\nGE\u{7f}T / HTTP/1.1\r\n", &["bad_request_line"]);
    check(Client, "GET / HTTP/1.7\r\nHost: a\r\n\r\n", &["bad_version"]);
    check(Client, "GET / HTTP/1.0\n\n", &["bare_lf"]);
    check(Client, "GET / HTTP/1.0\r\nA: b\n\r\n", &["bare_lf"]);
    check(Client, "GET / HTTP/1.1\r\n\r\n", &["host_missing"]);
    fields("Host: b\r\n", "host_twice");
    fields("A: b\rc\r\n", "bare_cr");
    fields("A: b\0c\r\n", "nul_in_head");
    fields("A: b\r\n c\r\n", "obs_fold");
    fields("A : b\r\n", "space_before_colon");
    fields("Content-Length : 0\r\n", "space_before_colon");
    fields("A b\r\n", "bad_field");
    fields(": b\r\n", "bad_field");
    fields("A(b): c\r\n", "bad_field");
    for value in ["x", "", "-1", "+1", "0x10", "1 1", "9999999999999999999", "5,"] {
        fields(&format!("Content-Length: {value}\r\n"), "bad_content_length");
    }
    fields("Content-Length: 0\r\nContent-Length: 00\r\nContent-Length: 1\r\n", "content_length_differs");
    fields("Content-Length: 0, 1\r\n", "content_length_differs");
    fields("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "length_and_transfer_encoding");
    for value in ["xchunked", "chunked, gzip", "chunked, chunked", "identity"] {
        fields(&format!("Transfer-Encoding: {value}\r\n"), "bad_transfer_encoding");
    }
    fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", "bad_transfer_encoding");
    fields(&"A: b\r\n".repeat(300), "too_many_fields");
    check(Client, &request(&"Long: field\r\n".repeat(MAX_HEAD / 13)), &["head_too_long"]);
    check(Client, &"G".repeat(MAX_HEAD + 9), &["head_too_long"]);
    // Several at once, each once.
    let both = "A : b\nB : c\nContent-Length: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n";
    check(
        Client,
        &request(both),
        &["bare_lf", "space_before_colon", "content_length_differs", "length_and_transfer_encoding"],
    );
}

#[test]
fn what_is_not_http_1_is_no_violation() {
    let check = |side, bytes: &str| assert_eq!(brief(&tell(&[(side, bytes.as_bytes())])), "", "{bytes:?}");
    // The middle of a body, where a flow was joined late.
    check(Server, "\u{1}\u{2}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    check(Client, "rest of a form\r\n");
    check(Client, "OPTIONS rtsp://example.com/a RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    check(Server, "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n");
    check(Client, "INVITE sip:a@example.com SIP/2.0\r\n\r\n");
}

#[test]
fn the_longest_head_is_still_read() {
    let frame = "GET / HTTP/1.0\r\nA: \r\n\r\n".len();
    let head = |length: usize| format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "x".repeat(length - frame));
    assert_eq!(brief(&tell(&[(Client, head(MAX_HEAD).as_bytes())])), "GET /");
    assert_eq!(brief(&tell(&[(Client, head(MAX_HEAD + 1).as_bytes())])), "!head_too_long");
}

#[test]
fn violations_of_bodies_are_told() {
    let check = |body: &str, expected: &[&str]| {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(violations(&tell(&[(Server, bytes.as_bytes())])), expected, "{body:?}");
    };
    check("x\r\n", &["bad_chunk"]);
    check("\r\n", &["bad_chunk"]);
    check("5x\r\nhello\r\n", &["bad_chunk"]);
    check("10000000000000000\r\n", &["bad_chunk"]);
    check("2\r\nabc\r\n", &["bad_chunk"]);
    check(&format!("1;{}\r\n", "x".repeat(2000)), &["bad_chunk"]);
    check(&format!("0\r\n{}", "A: b\r\n".repeat(MAX_TRAILER / 6 + 1)), &["trailer_too_long"]);
    check("fffffffffffffff\r\nx", &[]);
}

/// Pieces that make up exchanges, good and bad.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    let parts: [&[u8]; 22] = [
        b"GET / HTTP/1.1\r\n",
        b"HEAD /x HTTP/1.1\r\n",
        b"CONNECT a HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Go\r\n",
        b"HTTP/1.1 304 Same\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"A : b\n",
        b" folded\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"5\r\n",
        b"0\r\n\r\n",
        b"hello",
        b"hello\r\n",
        b"ff\r\n",
        b":",
    ];
    let part = prop_oneof![8 => prop::sample::select(parts.to_vec()).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..40)];
    prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn pieces_tell_what_the_whole_tells(
        turns in prop::collection::vec((any::<bool>(), parts()), 1..5), piece in 1_usize..50,
    ) {
        let talk: Vec<(Side, &[u8])> =
            turns.iter().map(|(client, bytes)| (if *client { Client } else { Server }, bytes.as_slice())).collect();
        let whole = feed::stream(&mut Dissector::default(), &talk, usize::MAX);
        prop_assert_eq!(&feed::stream(&mut Dissector::default(), &talk, piece), &whole);
        let bytes: usize = turns.iter().map(|(_, bytes)| bytes.len()).sum();
        prop_assert!(whole.len() <= bytes, "messages are bounded by what was sent");
    }

    #[test]
    fn any_bytes_are_dealt_with(bytes in prop::collection::vec(any::<u8>(), 0..400), client in any::<bool>()) {
        tell(&[(if client { Client } else { Server }, &bytes)]);
    }
}
