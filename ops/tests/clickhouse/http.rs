//! The interface on the wire: statuses, headers, encodings, sessions, authentication.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::server::{Server, Users};

struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Said {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a text"))
    }
}

async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Said {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = headers
        .iter()
        .fold(Request::builder(), |request, (name, value)| {
            request.header(*name, *value)
        })
        .method(method)
        .uri(format!("{}{path}", server.url))
        .body(Full::from(body.to_owned()))
        .expect("a good request");
    let response = client.request(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Said {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

async fn post(server: &Server, path: &str, body: &str) -> Said {
    ask(server, Method::POST, path, &[], body).await
}

#[tokio::test]
async fn it_is_alive_at_ping_and_at_the_root() {
    let server = Server::start();
    for path in ["/ping", "/"] {
        let said = ask(&server, Method::GET, path, &[], "").await;
        assert_eq!((said.status, said.text()), (StatusCode::OK, "Ok.\n"));
    }
    assert_eq!(
        ask(&server, Method::GET, "/nowhere", &[], "").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn an_answer_describes_itself_in_headers() {
    let server = Server::start();
    let said = post(
        &server,
        "/?query_id=mine&wait_end_of_query=1",
        "SELECT number FROM numbers(3) FORMAT JSONEachRow",
    )
    .await;
    assert_eq!(
        said.text(),
        "{\"number\":0}\n{\"number\":1}\n{\"number\":2}\n"
    );
    assert_eq!(said.header("x-clickhouse-query-id"), "mine");
    assert_eq!(said.header("x-clickhouse-format"), "JSONEachRow");
    assert!(
        said.header("x-clickhouse-summary")
            .contains("\"result_rows\":\"3\""),
        "{}",
        said.header("x-clickhouse-summary")
    );
    assert!(!said.header("x-clickhouse-timezone").is_empty());
}

#[tokio::test]
async fn each_error_has_its_status_and_code() {
    let server = Server::start();
    for (path, body, status, code) in [
        ("/", "SELECT * FROM nowhere", 404, "60"),
        ("/", "SELEC 1", 400, "62"),
        ("/", "SELECT 1; SELECT 2", 400, "62"),
        ("/?no_such_setting=1", "SELECT 1", 404, "115"),
        ("/?max_threads=many", "SELECT 1", 400, "27"),
        ("/?database=nowhere", "SELECT 1", 404, "81"),
        ("/", "SELECT {x:UInt8}", 500, "456"),
        ("/", "INSERT INTO nowhere VALUES (1)", 404, "60"),
        ("/", "SELECT 1 INTO OUTFILE '/tmp/never'", 500, "358"),
        ("/?session_id=s&session_check=1", "SELECT 1", 500, "372"),
        ("/", "SELECT 1 FORMAT Nonsense", 404, "73"),
    ] {
        let said = post(&server, path, body).await;
        let told = (
            said.status.as_u16(),
            said.header("x-clickhouse-exception-code"),
        );
        assert_eq!(told, (status, code), "{path} {body}: {}", said.text());
        assert!(
            said.text()
                .starts_with(&format!("Code: {code}. DB::Exception: ")),
            "{}",
            said.text()
        );
    }
}

#[tokio::test]
async fn a_get_changes_nothing() {
    let server = Server::start();
    let said = ask(
        &server,
        Method::GET,
        "/?query=CREATE+TABLE+t+(a+Int8)+ENGINE=Memory",
        &[],
        "",
    )
    .await;
    assert_eq!(said.header("x-clickhouse-exception-code"), "164");
    let said = ask(
        &server,
        Method::GET,
        "/?query=SELECT+{x:String}&param_x=a%5Ctb",
        &[],
        "",
    )
    .await;
    assert_eq!(said.text(), "a\\tb\n");
}

#[tokio::test]
async fn data_may_come_behind_the_query_or_apart_from_it() {
    let server = Server::start();
    post(
        &server,
        "/",
        "CREATE TABLE t (a UInt8, b String) ENGINE = MergeTree ORDER BY a",
    )
    .await;
    post(&server, "/", "INSERT INTO t FORMAT CSV\n1,\"x\n\ny;\"\n").await;
    post(&server, "/?query=INSERT+INTO+t+(a)+FORMAT+TSV", "2\n").await;
    post(
        &server,
        "/?query=INSERT+INTO+t+VALUES",
        "(3, 'VALUES'), (4, '')",
    )
    .await;
    post(&server, "/", "INSERT INTO t SELECT 5, 'five' FORMAT Null").await;
    let said = post(&server, "/", "SELECT a, b FROM t ORDER BY a").await;
    assert_eq!(said.text(), "1\tx\\n\\ny;\n2\t\n3\tVALUES\n4\t\n5\tfive\n");
}

#[tokio::test]
async fn a_session_keeps_its_state_and_its_settings_do_not_leak() {
    let server = Server::start();
    let value = "SELECT value FROM system.settings WHERE name = 'max_block_size'";
    post(
        &server,
        "/?session_id=s",
        "CREATE TEMPORARY TABLE kept (a Int8)",
    )
    .await;
    assert_eq!(
        post(&server, "/?session_id=s&max_block_size=7", value)
            .await
            .text(),
        "7\n"
    );
    assert_ne!(post(&server, "/?session_id=s", value).await.text(), "7\n");
    assert_eq!(
        post(&server, "/?session_id=s", "SELECT count() FROM kept")
            .await
            .text(),
        "0\n"
    );
    assert_eq!(
        post(&server, "/?session_id=t", "SELECT count() FROM kept")
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    assert_ne!(post(&server, "/", value).await.text(), "7\n");
}

#[tokio::test]
async fn a_session_is_for_one_request_at_a_time() {
    let server = Server::start();
    let slow = post(&server, "/?session_id=s", "SELECT sleep(2) FORMAT JSON");
    let impatient = async {
        // Until the slow one has the session, it is free.
        loop {
            let said = post(&server, "/?session_id=s&session_check=1", "SELECT 1").await;
            match said.header("x-clickhouse-exception-code") {
                "373" => return,
                "372" => {}
                _ => panic!("the session was shared: {}", said.text()),
            }
        }
    };
    let (slow, ()) = tokio::join!(slow, impatient);
    assert_eq!(slow.status, StatusCode::OK);
}

#[tokio::test]
async fn gzip_goes_both_ways() {
    let server = Server::start();
    let said = ask(
        &server,
        Method::POST,
        "/",
        &[("accept-encoding", "gzip")],
        "SELECT number FROM numbers(100000)",
    )
    .await;
    assert_eq!(said.header("content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(&*said.body)
        .read_to_string(&mut text)
        .expect("good gzip");
    assert_eq!(text.lines().count(), 100_000);
    let said = ask(
        &server,
        Method::POST,
        "/",
        &[("content-encoding", "brotli")],
        "SELECT 1",
    )
    .await;
    assert_eq!(said.header("x-clickhouse-exception-code"), "89");
}

#[tokio::test]
async fn a_password_is_asked_for_in_every_way_that_clients_know() {
    let server = Server::start_for(Users {
        password: Some("secret"),
        others: &[],
    });
    let code = async |path: &str, headers: &[(&str, &str)]| {
        let said = ask(&server, Method::POST, path, headers, "SELECT 1").await;
        (
            said.status.as_u16(),
            said.header("x-clickhouse-exception-code").to_owned(),
        )
    };
    let good = (200, String::new());
    assert_eq!(code("/", &[]).await, (401, "194".to_owned()));
    assert_eq!(
        code(
            "/",
            &[
                ("x-clickhouse-user", "default"),
                ("x-clickhouse-key", "guess")
            ]
        )
        .await,
        (403, "516".to_owned())
    );
    assert_eq!(
        code(
            "/",
            &[
                ("x-clickhouse-user", "default"),
                ("x-clickhouse-key", "secret")
            ]
        )
        .await,
        good
    );
    assert_eq!(
        code("/", &[("authorization", "Basic ZGVmYXVsdDpzZWNyZXQ=")]).await,
        good
    );
    assert_eq!(code("/?user=default&password=secret", &[]).await, good);
    assert_eq!(
        code("/?user=root&password=secret", &[]).await,
        (403, "516".to_owned())
    );
}

#[tokio::test]
async fn a_user_who_may_only_read_changes_nothing_by_any_way() {
    let server = Server::start_for(Users {
        password: Some("secret"),
        others: &["writer:w", "reader:r:readonly"],
    });
    let ask_as = async |user: &str, path: &str, text: &str| {
        let key = user.get(..1).expect("a letter");
        let who = [("x-clickhouse-user", user), ("x-clickhouse-key", key)];
        let said = ask(&server, Method::POST, path, &who, text).await;
        let code = said.header("x-clickhouse-exception-code").to_owned();
        (code, said.text().to_owned())
    };
    let good = |text: &str| (String::new(), text.to_owned());
    let table = "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a";
    assert_eq!(ask_as("writer", "/", table).await, good(""));
    assert_eq!(
        ask_as("writer", "/", "INSERT INTO t VALUES (1)").await,
        good("")
    );
    let count = "SELECT count() FROM t";
    for path in [
        "/",
        "/?database=default",
        "/?session_id=s",
        "/?session_id=s",
    ] {
        assert_eq!(ask_as("reader", path, count).await, good("1\n"), "{path}");
    }
    for text in [
        "INSERT INTO t VALUES (2)",
        "INSERT INTO t SELECT 2",
        "DROP TABLE t",
        "TRUNCATE TABLE t",
        "ALTER TABLE t DELETE WHERE 1",
        "CREATE TABLE u (a Int8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE u (a Int8)",
        "SET readonly = 0",
        "SET max_threads = 2",
        "SYSTEM FLUSH LOGS",
        "OPTIMIZE TABLE t",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    ] {
        for path in ["/", "/?session_id=s"] {
            let (code, said) = ask_as("reader", path, text).await;
            assert!(["164", "497"].contains(&code.as_str()), "{text}: {said}");
        }
    }
    for setting in ["readonly=0", "max_threads=2"] {
        let (code, said) = ask_as("reader", &format!("/?{setting}"), count).await;
        assert_eq!(code, "164", "{said}");
    }
    // Another user's session of that name is another session.
    assert_eq!(
        ask_as(
            "writer",
            "/?session_id=s",
            "CREATE TEMPORARY TABLE mine (a Int8)"
        )
        .await,
        good("")
    );
    let (code, _) = ask_as("reader", "/?session_id=s", "SELECT * FROM mine").await;
    assert_eq!(code, "60");
    assert_eq!(ask_as("writer", "/", count).await, good("1\n"));
}
