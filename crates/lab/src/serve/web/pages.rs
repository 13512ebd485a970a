//! What the shop answers.

use super::super::{PASSWORD, USER};
use super::{Content, MAX_DOWNLOAD, Request, Response, sql};
use std::fmt::Write;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Documents of `/files`, and what lies "outside" of their directory.
const FILES: [(&str, &str); 4] = [
    ("terms.txt", "Terms: this shop sells nothing.\n"),
    ("prices.csv", "article,price\nlamp,10\nchair,47\n"),
    (
        "etc/passwd",
        "root:x:0:0:root:/invented:/bin/false\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
         lab:x:1000:1000:invented:/nonexistent:/bin/false\n",
    ),
    ("windows/win.ini", "; for 16-bit app support\r\n[fonts]\r\n[extensions]\r\n"),
];

/// What commands of `/ping` print.
const COMMANDS: [(&str, &str); 5] = [
    ("id", "uid=33(www-data) gid=33(www-data) groups=33(www-data)\n"),
    ("whoami", "www-data\n"),
    ("uname", "Linux shop 6.1.0-lab x86_64 GNU/Linux\n"),
    ("cat /etc/passwd", FILES[2].1),
    ("ls", "index.html\nrobots.txt\n"),
];

fn response(status: &'static str, kind: &'static str, text: String) -> Response {
    Response { status, kind, fields: Vec::new(), content: Content::Text(text) }
}

fn page(status: &'static str, title: &str, body: &str) -> Response {
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><title>{title} - lab shop</title></head><body>\n<h1>{title}</h1>\n\
         <p><a href=\"/\">home</a> <a href=\"/products\">products</a> <a href=\"/news\">news</a> \
         <a href=\"/about\">about</a> <a href=\"/login\">log in</a></p>\n{body}\n</body></html>\n"
    );
    response(status, HTML, text)
}

/// `len` bytes that mean nothing.
pub(super) fn filling(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The answer to a request whose body had `length` bytes.
pub(super) fn answer(request: &Request, length: u64) -> Response {
    let value = |name: &str| request.value(name).unwrap_or_default();
    let post = request.method == "POST" || request.method == "PUT";
    if !post && !matches!(request.method.as_str(), "GET" | "HEAD") {
        return page("405 Method Not Allowed", "not like this", "");
    }
    match request.path.as_str() {
        "/" => {
            page("200 OK", "welcome", &(paragraph(8) + &links(&["/search?q=lamp", "/files?name=terms.txt"])))
        }
        "/about" => page("200 OK", "about", &paragraph(12)),
        "/news" => {
            let all: Vec<String> = (1..=12).map(|i| format!("/news/{i}")).collect();
            page("200 OK", "news", &links(&all))
        }
        "/products" => {
            let all: Vec<String> = (1..=40).map(|i| format!("/product?id={i}")).collect();
            page("200 OK", "products", &links(&all))
        }
        "/product" => product(&value("id")),
        "/search" => {
            // As it is: that is the weakness.
            page("200 OK", "search", &format!("<p>You searched for {}.</p><p>Nothing found.</p>", value("q")))
        }
        "/files" => file(&value("name")),
        "/ping" => response("200 OK", PLAIN, ping(&value("host"))),
        "/login" if post => log_in(&value("user"), &value("password"), HTML),
        "/login" => page(
            "200 OK",
            "log in",
            "<form method=\"post\" action=\"/login\"><input name=\"user\"><input name=\"password\" type=\"password\">\
             <button>log in</button></form>",
        ),
        "/api/login" if post => log_in(&value("user"), &value("password"), JSON),
        "/api/status" => response("200 OK", JSON, "{\"status\":\"up\"}".to_owned()),
        "/api/products" => response("200 OK", JSON, products()),
        "/upload" if post => response("201 Created", PLAIN, format!("{length} bytes\n")),
        "/robots.txt" => {
            response("200 OK", PLAIN, "User-agent: *\nDisallow: /private/\nCrawl-delay: 1\n".to_owned())
        }
        "/favicon.ico" => Response {
            status: "200 OK",
            kind: "image/x-icon",
            fields: Vec::new(),
            content: Content::Bytes(1150),
        },
        path => other(path),
    }
}

fn other(path: &str) -> Response {
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|n| n.parse::<u64>().ok());
    if let Some(bytes) = number("/downloads/").filter(|n| *n <= MAX_DOWNLOAD) {
        let kind = "application/octet-stream";
        return Response { status: "200 OK", kind, fields: Vec::new(), content: Content::Bytes(bytes) };
    }
    if let Some(n) = number("/news/").filter(|n| (1..=12).contains(n)) {
        return page("200 OK", &format!("news no. {n}"), &paragraph(20 + n));
    }
    if path.starts_with("/private/") {
        return page("403 Forbidden", "not for you", "");
    }
    page("404 Not Found", "not here", "")
}

/// The weakness: the identifier is put into the query as it came.
fn product(id: &str) -> Response {
    match sql::run(&format!("SELECT id, name, price, stock FROM products WHERE id = {id}")) {
        Ok(rows) if rows.is_empty() => page("200 OK", "product", "<p>There is no such product.</p>"),
        Ok(rows) => {
            let mut list = String::from("<ul>");
            for row in rows {
                let values: Vec<String> = row.iter().map(ToString::to_string).collect();
                // Writing to a text does not fail.
                let _ = write!(list, "<li>{} EUR</li>", values.join(", "));
            }
            let offer = "</ul><p>Available today, delivered tomorrow, returned whenever it pleases.</p>";
            page("200 OK", "product", &(list + offer + &paragraph(6)))
        }
        Err(error) => {
            page("500 Internal Server Error", "error", &format!("<p>sqlite3.OperationalError: {error}</p>"))
        }
    }
}

fn products() -> String {
    let rows = sql::run("SELECT id, name, price FROM products").unwrap_or_default();
    let one = |row: &Vec<sql::Value>| match row.as_slice() {
        [id, name, price] => format!("{{\"id\":{id},\"name\":\"{name}\",\"price\":{price}}}"),
        _ => "null".to_owned(),
    };
    format!("[{}]", rows.iter().map(one).collect::<Vec<_>>().join(","))
}

/// The weakness: steps upwards are followed, within a list of four.
fn file(name: &str) -> Response {
    let name = name.replace('\\', "/").to_lowercase();
    let bare = name.trim_end_matches('\0').split('\0').next().unwrap_or_default();
    let outside = bare.contains("../") || bare.starts_with('/') || bare.contains(":/");
    let wanted = bare.rsplit("../").next().unwrap_or_default().trim_start_matches('/');
    let wanted = wanted.split_once(":/").map_or(wanted, |(_, rest)| rest);
    match FILES.iter().find(|(n, _)| *n == wanted && n.contains('/') == outside) {
        Some((_, content)) => response("200 OK", PLAIN, (*content).to_owned()),
        None => page("404 Not Found", "no such file", ""),
    }
}

/// The weakness: what stands behind a sign of the shell is "run", which means looked up in a table.
fn ping(host: &str) -> String {
    let mut out = String::from("1 packets transmitted, 1 received, 0% packet loss\n");
    for command in host.split([';', '|', '&', '`', '\n', '$', '(', ')']).skip(1) {
        let command = command.trim();
        if let Some((_, output)) =
            COMMANDS.iter().find(|(c, _)| command == *c || command.starts_with(&format!("{c} -")))
        {
            out += output;
        }
    }
    out
}

fn log_in(user: &str, password: &str, kind: &'static str) -> Response {
    let right = user == USER && password == PASSWORD;
    let json = kind == JSON;
    match (right, json) {
        (true, true) => response("200 OK", JSON, "{\"token\":\"not-a-token\"}".to_owned()),
        (false, true) => {
            response("401 Unauthorized", JSON, "{\"error\":\"wrong name or password\"}".to_owned())
        }
        (true, false) => Response {
            fields: vec![
                ("Location", "/".to_owned()),
                ("Set-Cookie", "session=not-a-session; HttpOnly".to_owned()),
            ],
            ..page("303 See Other", "welcome back", "")
        },
        (false, false) => page("401 Unauthorized", "log in", "<p>Wrong name or password.</p>"),
    }
}

fn links<T: AsRef<str>>(all: &[T]) -> String {
    let link = |to: &T| format!("<li><a href=\"{0}\">{0}</a></li>\n", to.as_ref());
    format!("<ul>\n{}</ul>\n", all.iter().map(link).collect::<String>())
}

/// Text of so many sentences.
fn paragraph(sentences: u64) -> String {
    const SENTENCES: [&str; 5] = [
        "This shop exists to be attacked and sells nothing.",
        "Whatever you find here is invented.",
        "The lamp stands on the table beside the chair.",
        "Deliveries leave on days that end in y.",
        "Our clocks are right twice a day.",
    ];
    let all: String =
        (0..sentences).filter_map(|i| SENTENCES.get((i % 5) as usize)).map(|s| format!("{s} ")).collect();
    format!("<p>{}</p>\n", all.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, query: &str) -> (String, String) {
        let request =
            Request { method: "GET".into(), path: path.into(), query: query.into(), ..Request::default() };
        let response = answer(&request, 0);
        let Content::Text(text) = response.content else { panic!("{path}: bytes") };
        (response.status.to_owned(), text)
    }

    #[test]
    fn each_weakness_shows_and_the_honest_use_works() {
        // Path, query; status, what the answer contains.
        let check = |path: &str, query: &str, status: &str, contains: &str| {
            let (got, text) = get(path, query);
            assert!(got.starts_with(status) && text.contains(contains), "{path}?{query}: {got} {text}");
        };
        check("/product", "id=3", "200", "table no. 3");
        check("/product", "id=99+UNION+SELECT+1,password,3,4+FROM+users", "200", "not-a-password-1");
        check("/product", "id=3'", "500", "sqlite3.OperationalError");
        check("/search", "q=%3Cscript%3Ealert(1)%3C/script%3E", "200", "<script>alert(1)</script>");
        check("/files", "name=terms.txt", "200", "Terms");
        check("/files", "name=../../../etc/passwd", "200", "daemon:x:1");
        check("/files", "name=..%5C..%5Cwindows%5Cwin.ini", "200", "[fonts]");
        check("/files", "name=etc/passwd", "404", "");
        check("/ping", "host=192.0.2.1", "200", "1 received");
        check("/ping", "host=192.0.2.1;id", "200", "uid=33");
        check("/ping", "host=192.0.2.1;rm+-rf+x", "200", "0% packet loss\n");
        check("/private/x", "", "403", "");
        check("/nothing", "", "404", "");
        check("/api/products", "", "200", "\"name\":\"lamp no. 1\"");
    }
}
