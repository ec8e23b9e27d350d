//! Notifications: real receivers on sockets, the real binary, real runs.

mod network;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::process::Signal;
use serde_json::Value;
use sha2::Sha256;

use crate::support::app::TestApp;
use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::smtp::MailServer;
use crate::support::wait::{wait_for, wait_until};

const KEY: &str = "a-key-that-nobody-guesses";
const TOKEN: &str = "T0K3N-of-the-channel";

/// A pipeline whose runs fail if `fails`, with these receivers.
fn pipeline(fails: bool, notify: &str) -> TestApp {
    let step = if fails {
        r#"{ do = "fail", code = "bad_input", message = "no column `species`" }"#
    } else {
        r#"{ do = "done", text = "all is well" }"#
    };
    let manifest = format!(
        r#"
manifest_version = 1
[pipeline]
name = "watched"
[resources.raw]
kind = "folder"
path = "raw"
watch = true
[actions.train]
component = "worker.wasm"
after = ["raw"]
reads = ["raw"]
params = {{ steps = [{step}] }}
{notify}
"#
    );
    let mut app = TestApp::new(&manifest).with_guest("worker");
    app.set_env("HOOK_KEY", KEY);
    // Receivers are on this machine.
    app.set_env("NO_PROXY", "127.0.0.1");
    app
}

fn webhook(receiver: &str, rest: &str) -> String {
    format!("[notify.ops]\nkind = \"webhook\"\nurl = \"{receiver}\"\nsecret = \"env:HOOK_KEY\"\n{rest}\n")
}

/// Waits until the last notification is in this state, and returns all, newest first.
#[track_caller]
fn wait_for_state(app: &TestApp, state: &str) -> Vec<Value> {
    wait_for(&format!("a notification to be {state}"), || {
        let all = app.get_all("/api/v1/notifications");
        (all.first()?["state"] == state).then_some(all)
    })
}

/// Verifies a signature as a receiver does that has read the documentation.
fn is_genuine(request: &Received, key: &str) -> bool {
    let header = |name: &str| request.headers[name].clone();
    let signed = format!("{}.{}.{}", header("anacostia-timestamp"), header("anacostia-id"), request.body);
    let signature = header("anacostia-signature");
    let hex = signature.strip_prefix("sha256=").unwrap();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    mac.verify_slice(&bytes).is_ok()
}

#[test]
fn a_receiver_verifies_who_sent_a_message_that_says_what_failed_why_and_where_to_look() {
    let receiver = Receiver::start(&[]);
    let mut app = pipeline(true, &webhook(&receiver.url(), "on = [\"run_failed\"]"));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let all = wait_for_state(&app, "delivered");
    let [request] = &receiver.received()[..] else { panic!("{:?}", receiver.received()) };
    assert!(is_genuine(request, KEY));
    assert!(!is_genuine(request, "another-key"));
    assert!(!is_genuine(&Received { body: request.body.replace("watched", "matched"), ..request.clone() }, KEY));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(request.headers["anacostia-id"], body["id"].as_str().unwrap());
    let told = ["pipeline", "name", "cause", "title"].map(|key| body[key].as_str().unwrap());
    assert_eq!(told, ["watched", "ops", "run_failed", "watched: run #1 failed"]);
    let text = format!(
        "Run #1 of the pipeline watched failed.\n\ntrain failed: no column `species`\n\n\
         After a fix:\n  anacostia runs retry 1 --current\n  anacostia trigger --inputs raw/a.csv\n\
         See:\n  anacostia runs show 1\nTrigger: raw: 1 new artifact\nRun: {}/runs/1\n",
        app.url()
    );
    assert_eq!(body["text"], text);
    let link = text.trim_end().rsplit_once(' ').unwrap().1;
    let page = crate::support::pages::page(&app, link.strip_prefix(app.url()).unwrap());
    assert!(page.contains("no column `species`"), "the link leads to the page of the run: {page}");
    assert_eq!((all.len(), all[0]["attempts"].as_u64(), &all[0]["error"]), (1, Some(1), &Value::Null));
    assert_eq!((&all[0]["channel"], &all[0]["run_number"]), (&Value::from("webhook"), &Value::from(1)));
}

#[test]
fn only_the_chosen_causes_and_actions_are_notified_about() {
    let [failures, successes, others] = [(); 3].map(|()| Receiver::start(&[]));
    let named = |name: &str, receiver: &Receiver, rest: &str| {
        webhook(&receiver.url(), rest).replace("[notify.ops]", &format!("[notify.{name}]"))
    };
    let notify = named("failures", &failures, "on = [\"run_failed\"]")
        + &named("successes", &successes, "on = [\"run_succeeded\"]\naction = \"train\"")
        + &named("others", &others, "on = [\"run_succeeded\"]\naction = \"idle\"");
    let idle = "[actions.idle]\ncomponent = \"worker.wasm\"\nreads = [\"raw\"]\nafter = [\"train\"]\nrun_when = \"any_failed\"\n";
    let mut app = pipeline(false, &(notify + idle));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let all = wait_for_state(&app, "delivered");
    assert_eq!(all.iter().map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(), ["successes"]);
    assert!(all[0]["text"].as_str().unwrap().contains("\ntrain succeeded: all is well\n"), "{all:?}");
    assert_eq!([&failures, &successes, &others].map(|receiver| receiver.received().len()), [0, 1, 0]);
}

#[test]
fn a_message_is_sent_again_with_the_same_id_until_the_receiver_takes_it() {
    let receiver = Receiver::start(&[Answer::Status(500), Answer::Status(503)]);
    let mut app = pipeline(true, &webhook(&receiver.url(), "on = [\"run_failed\"]"));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let all = wait_for_state(&app, "delivered");
    assert_eq!(all[0]["attempts"], 3);
    let received = receiver.received();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|it| is_genuine(it, KEY) && it.body == received[0].body));
    assert!(received.iter().all(|it| it.headers["anacostia-id"] == received[0].headers["anacostia-id"]));
}

#[test]
fn a_receiver_that_is_down_gets_the_message_once_it_is_up() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut app = pipeline(true, &webhook(&format!("http://{address}/hook"), "on = [\"run_failed\"]"));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let waiting = wait_for("a refused delivery", || {
        app.get_all("/api/v1/notifications").into_iter().find(|it| it["attempts"].as_u64() > Some(0))
    });
    assert_eq!(waiting["state"], "waiting");
    assert!(waiting["error"].as_str().unwrap().contains("Connection refused"), "{waiting}");
    let receiver = Receiver::listen(TcpListener::bind(address).unwrap(), &[]);
    wait_for_state(&app, "delivered");
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn what_no_repetition_changes_and_what_takes_too_long_is_given_up_with_the_reason() {
    let gone = Receiver::start(&[Answer::Status(404)]);
    let broken = Receiver::start(&[Answer::Status(500); 50]);
    let second = webhook(&broken.url(), "on = [\"run_failed\"]\nretry_for = \"1s\"").replace("ops", "second");
    let mut app = pipeline(true, &(webhook(&gone.url(), "on = [\"run_failed\"]") + &second));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let all = wait_for("both to be given up", || {
        let all = app.get_all("/api/v1/notifications");
        (all.len() == 2 && all.iter().all(|it| it["state"] == "given_up")).then_some(all)
    });
    let of = |name: &str| all.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!((&of("ops")["attempts"], gone.received().len()), (&Value::from(1), 1));
    assert_eq!(of("ops")["error"], "the receiver answered 404 Not Found");
    assert!(of("second")["attempts"].as_u64() >= Some(2), "{all:?}");
    assert_eq!(of("second")["error"], "the receiver answered 500 Internal Server Error");
    assert_eq!(app.get_all("/api/v1/notifications?name=second").len(), 1);

    let table = String::from_utf8(app.cli(&["notifications", "PATH"]).stdout).unwrap();
    assert!(table.contains("watched: run #1 failed") && table.contains("the receiver answered 404"), "{table}");
    assert_eq!(app.cli_json(&["notifications", "PATH", "--json", "--name", "ops"])["items"][0], *of("ops"));
}

#[test]
fn a_notification_survives_kill_9_at_every_step_from_the_event_to_the_record_of_its_delivery() {
    let points = ["notify.event", "notify.in_transaction", "notify.committed", "notify.recorded", "notify.sent"];
    for point in points.into_iter().chain(["delivery.in_transaction", "delivery.committed"]) {
        let receiver = Receiver::start(&[]);
        let mut app = pipeline(true, &webhook(&receiver.url(), "on = [\"run_failed\"]"));
        app.drop_file("raw/a.csv", b"x");
        // The first record says where the host begins.
        let count = if ["notify.in_transaction", "notify.committed"].contains(&point) { 2 } else { 1 };
        app.die_at(&format!("{point}:{count}"));
        app.start();
        let all = wait_for_state(&app, "delivered");
        assert_eq!(all.len(), 1, "{point}: {all:?}");
        let received = receiver.received();
        let again = usize::from(["notify.sent", "delivery.in_transaction"].contains(&point));
        assert_eq!(received.len(), 1 + again, "{point}");
        assert!(received.iter().all(|it| it.headers["anacostia-id"] == received[0].headers["anacostia-id"]));
    }
}

#[test]
fn what_notifies_is_started_again_after_a_panic() {
    let silence = "nothing_new_for = \"1s\"";
    for (point, on, name) in [
        ("notify.event", "on = [\"run_failed\"]", "the follower of events for notifications"),
        ("notify.sent", "on = [\"run_failed\"]", "the delivery to ops"),
        ("notify.conditions", silence, "the watch for silence and unreachable resources"),
    ] {
        let receiver = Receiver::start(&[]);
        let mut app = pipeline(true, &webhook(&receiver.url(), on));
        app.set_env("ANACOSTIA_FAULT", &format!("panic:{point}:1"));
        app.start();
        if on != silence {
            app.drop_file("raw/a.csv", b"x");
        }
        let all = wait_for_state(&app, "delivered");
        assert_eq!(all.len(), 1, "{point}: {all:?}");
        app.wait_to_say(&format!("{name} has ended: it panicked, which is a bug in Anacostia"));
        // What was sent and not recorded is sent again, with the same id.
        let received = receiver.received();
        assert_eq!(received.len(), if point == "notify.sent" { 2 } else { 1 }, "{point}");
        assert!(received.iter().all(|it| it.headers["anacostia-id"] == received[0].headers["anacostia-id"]));
    }
}

#[test]
fn a_receiver_that_hangs_delays_neither_a_run_nor_another_receiver() {
    let [hanging, other] = [Receiver::start(&[Answer::Hang; 50]), Receiver::start(&[])];
    let second = webhook(&other.url(), "on = [\"run_failed\"]").replace("ops", "second");
    let mut app = pipeline(true, &(webhook(&hanging.url(), "on = [\"run_failed\"]") + &second));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    wait_until("the receiver to hang", || !hanging.received().is_empty());
    for number in 2..=6_usize {
        app.drop_file(&format!("raw/{number}.csv"), b"x");
        app.wait_for_runs(number);
    }
    wait_until("the other receiver to know of all", || other.received().len() == 6);
    assert_eq!(hanging.received().len(), 1, "the rest waits behind it");
    let stopping = Instant::now();
    app.signal(Signal::TERM);
    assert!(app.wait_for_end().success());
    assert!(stopping.elapsed().as_secs() < 20, "it waited {:?} for the receiver", stopping.elapsed());
}

#[test]
fn a_message_that_the_receiver_cannot_take_holds_up_no_other() {
    let receiver = Receiver::start(&[]);
    receiver.refuse(Some("run #1 failed"));
    let mut app = pipeline(true, &webhook(&receiver.url(), "on = [\"run_failed\"]"));
    app.start();
    for number in 1..=3_usize {
        app.drop_file(&format!("raw/{number}.csv"), b"x");
        app.wait_for_runs(number);
    }
    let delivered = |all: &[Value]| all.iter().filter(|it| it["state"] == "delivered").count();
    let all = wait_for("the others to be delivered", || {
        Some(app.get_all("/api/v1/notifications")).filter(|all| delivered(all) == 2)
    });
    assert_eq!((&all[2]["run_number"], &all[2]["state"]), (&1.into(), &"waiting".into()), "{all:?}");
    receiver.refuse(None);
    wait_until("the first one too", || delivered(&app.get_all("/api/v1/notifications")) == 3);
}

#[test]
fn silence_before_the_first_arrival_is_told_once_also_over_a_restart() {
    let [short, long] = [(); 2].map(|()| Receiver::start(&[]));
    let second = webhook(&long.url(), "nothing_new_for = \"6s\"").replace("ops", "second");
    let mut app = pipeline(false, &(webhook(&short.url(), "nothing_new_for = \"1s\"") + &second));
    app.start();
    wait_for_state(&app, "delivered");
    app.restart();
    wait_until("the longer silence", || long.received().len() == 1);
    assert_eq!(short.received().len(), 1, "the restart made another");
}

#[test]
fn run_once_sends_before_it_ends() {
    let receiver = Receiver::start(&[]);
    let app = pipeline(false, &webhook(&receiver.url(), "on = [\"run_succeeded\"]"));
    app.drop_file("raw/a.csv", b"x");
    let output = app.cli(&["run", "--once", "--listen", "127.0.0.1:0", "PATH"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(app.cli_json(&["notifications", "PATH", "--json"])["items"][0]["state"], "delivered");
}

/// The receiver with the longer span is the clock: when it is told, the other has had time for
/// another message.
#[test]
fn silence_is_told_once_until_something_arrives_again_also_over_a_restart() {
    let [short, long] = [(); 2].map(|()| Receiver::start(&[]));
    let second = webhook(&long.url(), "nothing_new_for = \"5s\"").replace("ops", "second");
    let mut app = pipeline(false, &(webhook(&short.url(), "nothing_new_for = \"2s\"") + &second));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let all = wait_for_state(&app, "delivered");
    assert_eq!((&all[0]["title"], &all[0]["cause"]), (&"watched: nothing new for 2s".into(), &"nothing_new".into()));
    app.restart();
    wait_until("the longer silence", || long.received().len() == 1);
    assert_eq!(short.received().len(), 1, "neither the restart nor the time made another");
    app.drop_file("raw/b.csv", b"y");
    wait_until("a second longer silence", || long.received().len() == 2);
    assert_eq!(short.received().len(), 2, "one for each arrival");
}

/// `second` is the clock, as above.
#[test]
fn a_resource_that_is_silent_beside_a_busy_one_is_told_to_who_asks_about_it() {
    let [named, together, clock, raw_only, labels_only] = [(); 5].map(|()| Receiver::start(&[]));
    let receivers = [
        ("named", &named, "nothing_new_for = \"5s\"\nresources = [\"raw\", \"labels\"]"),
        ("together", &together, "nothing_new_for = \"5s\""),
        ("second", &clock, "nothing_new_for = \"10s\"\nresources = [\"labels\"]"),
        ("raw-only", &raw_only, "on = [\"resource_unreachable\"]\nresources = [\"raw\"]"),
        ("labels-only", &labels_only, "on = [\"resource_unreachable\"]\nresources = [\"labels\"]"),
    ];
    let mut more = "[resources.labels]\nkind = \"folder\"\npath = \"labels\"\nwatch = true\n[actions.sort]\n\
        component = \"worker.wasm\"\nafter = [\"labels\"]\nreads = [\"labels\"]\n\
        params = { steps = [{ do = \"done\" }] }\n"
        .to_owned();
    for (name, receiver, rest) in receivers {
        more += &webhook(&receiver.url(), rest).replace("notify.ops", &format!("notify.{name}"));
    }
    let mut app = pipeline(false, &more);
    app.drop_file("labels/a.csv", b"x");
    app.start();
    let mut version = 0;
    let mut busy_until_told = |app: &TestApp, receiver: &Receiver| {
        wait_until("a silence to be told", || {
            version += 1;
            app.drop_file("raw/a.csv", format!("version {version}").as_bytes());
            !receiver.received().is_empty()
        });
    };
    busy_until_told(&app, &named);
    let body: Value = serde_json::from_str(&named.received()[0].body).unwrap();
    assert_eq!((&body["cause"], &body["resource"]), (&"nothing_new".into(), &"labels".into()));
    assert_eq!(body["title"], "watched: nothing new in labels for 5s");
    let text = format!(
        "No new artifact has arrived for 5s in the resource labels of the pipeline watched.\n\nPipeline: {}/\n",
        app.url()
    );
    assert_eq!(body["text"], text);
    app.restart();
    busy_until_told(&app, &clock);
    assert_eq!((named.received().len(), together.received().len()), (1, 0), "the restart made another");
    fs::remove_dir_all(app.path("labels")).unwrap();
    wait_until("the outage to be told", || !labels_only.received().is_empty());
    let all = app.get_all("/api/v1/notifications");
    let outages = all.iter().filter(|it| it["cause"] == "resource_unreachable");
    assert_eq!(outages.map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(), ["labels-only"], "{all:?}");
    assert!(raw_only.received().is_empty());
}

#[test]
fn a_resource_that_cannot_be_reached_is_told_once() {
    let [receiver, clock] = [(); 2].map(|()| Receiver::start(&[]));
    let second = webhook(&clock.url(), "nothing_new_for = \"10s\"").replace("ops", "second");
    let mut app = pipeline(false, &(webhook(&receiver.url(), "on = [\"resource_unreachable\"]") + &second));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    app.wait_for_runs(1);
    // At once: if its file were seen to be gone first, the next host would create the folder.
    fs::rename(app.path("raw"), app.path("raw-away")).unwrap();
    // On a busy machine the silence may be told first.
    let told = wait_for("the outage to be told", || {
        let all = app.get_all("/api/v1/notifications");
        all.into_iter().find(|it| it["resource"] == "raw" && it["state"] == "delivered")
    });
    assert_eq!(told["title"], "watched: raw cannot be reached");
    wait_until("some more looks at the resource", || clock.received().len() == 1);
    assert_eq!(receiver.received().len(), 1);
    // The next host knows that it was told, and tells the next outage.
    let late = add_receiver(&app);
    app.restart();
    wait_until("the new receiver to be told", || late.received().len() == 1);
    assert_eq!(receiver.received().len(), 1, "it was told again after a restart");
    fs::create_dir(app.path("raw")).unwrap();
    wait_until("the folder to be back", || app.get("/api/v1/nodes/raw")["state"] == "watching");
    wait_until("that to be on record", || told_outages(&app) == 0);
    fs::remove_dir(app.path("raw")).unwrap();
    wait_until("the second outage to be told", || receiver.received().len() == 2 && late.received().len() == 2);
}

/// Returns how many times a receiver was told of an outage that is not over.
fn told_outages(app: &TestApp) -> i64 {
    let store = rusqlite::Connection::open(app.path("state/metadata.db")).unwrap();
    store.query_row("select count(*) from told_outages", [], |row| row.get(0)).unwrap()
}

/// Adds a receiver that is told about outages by the next host.
fn add_receiver(app: &TestApp) -> Receiver {
    let late = Receiver::start(&[]);
    let more = webhook(&late.url(), "on = [\"resource_unreachable\"]").replace("notify.ops", "notify.late");
    let manifest = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    fs::write(app.path("anacostia.toml"), manifest + &more).unwrap();
    late
}

#[test]
fn outputs_that_a_server_does_not_take_are_told_once_also_after_a_restart() {
    let receiver = Receiver::start(&[]);
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = format!(
        "{}[resources.models]\nkind = \"http\"\nurl = \"http://{away}/\"\nmethod = \"PUT\"\n",
        webhook(&receiver.url(), "on = [\"resource_unreachable\"]")
    );
    let mut app = pipeline(false, &target);
    let manifest = fs::read_to_string(app.path("anacostia.toml")).unwrap();
    let steps = "writes = [\"models\"]\nparams = { steps = [{ do = \"copy\", from = \"raw\", to = \"models\" }, ";
    fs::write(
        app.path("anacostia.toml"),
        manifest
            .replace("params = { steps = [", steps)
            .replace("name = \"watched\"", "name = \"watched\"\nmax_concurrent_runs = 2"),
    )
    .unwrap();
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let all = wait_for_state(&app, "delivered");
    assert_eq!(
        (&all[0]["resource"], &all[0]["title"]),
        (&"models".into(), &"watched: models cannot be reached".into())
    );
    let text = all[0]["text"].as_str().unwrap();
    assert!(text.contains("outputs wait for models: `a.csv`: cannot connect to the server"), "{text}");
    let node = app.get("/api/v1/nodes/models");
    assert_eq!(node["state"], "unreachable", "{node:#}");
    let shown = String::from_utf8(app.cli(&["runs", "show", "1", "PATH"]).stdout).unwrap();
    assert!(shown.contains("\nCommitted, waits for models\n  models/a.csv") && !shown.contains("Published"), "{shown}");
    assert_eq!(app.try_get("/readyz").unwrap().0, 200, "other work goes on");
    let late = add_receiver(&app);
    app.restart();
    wait_until("the new receiver to be told", || late.received().len() == 1);
    assert_eq!(receiver.received().len(), 1, "it was told again after a restart");
    // The server is back, and never without outputs on their way to it.
    let arrived = answer_the_first_of_two(away);
    arrived.recv_timeout(Duration::from_mins(1)).unwrap();
    app.drop_file("raw/b.csv", b"y");
    wait_until("the outage to be over", || told_outages(&app) == 0);
}

/// Starts a server that answers a request for `a.csv` once there is another, which it never
/// answers. The result says when the first has arrived.
fn answer_the_first_of_two(address: SocketAddr) -> mpsc::Receiver<()> {
    let (server, (arrives, arrived)) = (TcpListener::bind(address).unwrap(), mpsc::channel());
    std::thread::spawn(move || {
        let (mut first, mut second) = (None, None);
        for connection in server.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let length = connection.read(&mut request).unwrap();
            if String::from_utf8_lossy(&request[..length]).contains("/a.csv") {
                first = Some(connection);
                let _ = arrives.send(());
            } else {
                second = Some(connection);
            }
            if let (Some(first), Some(_)) = (&mut first, &second) {
                let _ = first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    arrived
}

#[test]
fn slack_gets_a_text_and_a_mail_server_a_mail() {
    let receiver = Receiver::start(&[]);
    let server = MailServer::start(Some("235 welcome"));
    let notify = format!(
        "[notify.chat]\nkind = \"slack\"\nurl = \"env:CHAT_URL\"\non = [\"run_failed\"]\n\
         [notify.mail]\nkind = \"email\"\nfrom = \"Anacostia <anacostia@example.com>\"\nto = [\"a@example.com\", \"b@example.com\"]\n\
         smtp = \"{}\"\nuser = \"env:MAIL_USER\"\npassword = \"env:MAIL_PASSWORD\"\non = [\"run_failed\"]\n",
        server.url()
    );
    let mut app = pipeline(true, &notify);
    app.set_env("CHAT_URL", &format!("{}/{TOKEN}", receiver.url()));
    app.set_env("MAIL_USER", "me");
    app.set_env("MAIL_PASSWORD", KEY);
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let (request, mails) = wait_for("both messages", || {
        Some((receiver.received().into_iter().next()?, Some(server.mails()).filter(|mails| mails.len() == 2)?))
    });
    assert_eq!(request.path, format!("/hook/{TOKEN}"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("*watched: run #1 failed*\nRun #1 of the pipeline watched failed."), "{text}");
    assert_eq!(body.as_object().unwrap().len(), 1);
    for (mail, to) in mails.iter().zip(["a@example.com", "b@example.com"]) {
        assert_eq!((&*mail.from, &*mail.to), ("anacostia@example.com", &[to.to_owned()][..]));
        assert!(mail.data.contains("To: a@example.com, b@example.com\n"), "{}", mail.data);
        assert!(mail.data.contains("\nSubject: watched: run #1 failed\n"), "{}", mail.data);
        assert!(mail.data.contains("train failed: no column `species`"), "{}", mail.data);
    }
}

#[test]
fn a_recipient_who_is_refused_keeps_the_mail_from_no_other() {
    let server = MailServer::start(None);
    let notify = format!(
        "[notify.mail]\nkind = \"email\"\nfrom = \"a@example.com\"\n\
         to = [\"nobody@example.com\", \"b@example.com\"]\nsmtp = \"{}\"\non = [\"run_failed\"]\n",
        server.url()
    );
    let mut app = pipeline(true, &notify);
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let all = wait_for_state(&app, "given_up");
    let error = all[0]["error"].as_str().unwrap();
    assert!(error.starts_with("nobody@example.com was refused: "), "{error}");
    assert!(error.ends_with("; the other recipients have the mail"), "{error}");
    let to: Vec<_> = server.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(to, [["b@example.com"]]);
}

#[test]
fn secrets_are_in_no_record_no_error_and_no_log() {
    let server = MailServer::start(Some("535 a-key-that-nobody-guesses is not the password of me"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mail = format!(
        "[notify.mail]\nkind = \"email\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\nsmtp = \"{}\"\n\
         user = \"env:CHAT_URL\"\npassword = \"env:HOOK_KEY\"\non = [\"run_failed\"]\n",
        server.url()
    );
    let chat = "[notify.chat]\nkind = \"slack\"\nurl = \"env:CHAT_URL\"\non = [\"run_failed\"]\nretry_for = \"1s\"\n";
    let bad = "[notify.bad]\nkind = \"slack\"\nurl = \"env:HOOK_KEY\"\non = [\"run_failed\"]\n";
    let mut app = pipeline(true, &(mail + chat + bad));
    app.set_env("CHAT_URL", &format!("http://{closed}/{TOKEN}"));
    app.start();
    app.drop_file("raw/a.csv", b"x");
    let all = wait_for("all to be given up", || {
        let all = app.get_all("/api/v1/notifications");
        (all.len() == 3 && all.iter().all(|it| it["state"] == "given_up")).then_some(all)
    });
    let error = |name: &str| all.iter().find(|it| it["name"] == name).unwrap()["error"].as_str().unwrap().to_owned();
    assert!(error("mail").contains("••• is not the password"), "{all:?}");
    assert!(error("chat").contains("Connection refused"), "{all:?}");
    assert_eq!(error("bad"), "the secret in `url` is not a URL that begins with `https://` or `http://`");
    let shown = format!("{all:?}{}{}", app.said(), app.get("/api/v1/nodes"));
    app.signal(Signal::TERM);
    app.wait_for_end();
    let mut places = vec![shown.into_bytes()];
    for entry in fs::read_dir(app.path("state")).unwrap().map(|entry| entry.unwrap().path()) {
        places.extend(entry.is_file().then(|| fs::read(&entry).unwrap()));
    }
    for place in places {
        for secret in [KEY, TOKEN] {
            assert!(!String::from_utf8_lossy(&place).contains(secret), "a secret is on record");
        }
    }
}
