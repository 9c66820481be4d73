//! A floating address between two machines, seen from a third.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use standin_failover::resource::Condition;

use crate::ground::{Wire, on, settings, step};
use crate::namespace::Namespace;

const PORT: u16 = 25;

fn floating(address: &str) -> standin_config::group::Resource {
    settings("", &format!("kind = \"address\"\naddress = \"{address}\"\ninterface = \"eth0\"\n"))
}

/// Answers everybody with the machine's name, as long as the test runs.
fn serve(room: &Namespace, name: &'static str) {
    let listener = room.within(|| TcpListener::bind(("::", PORT)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(name.as_bytes());
        }
    });
}

/// Whose answer comes from the address, if any does.
fn asked(address: &str) -> Option<String> {
    let target = SocketAddr::new(address.parse().unwrap(), PORT);
    let mut stream = TcpStream::connect_timeout(&target, Duration::from_millis(200)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut name = String::new();
    stream.read_to_string(&mut name).ok().map(|_| name).filter(|name| !name.is_empty())
}

fn mac(room: &Namespace) -> String {
    let line = room.run("ip", &["-o", "link", "show", "eth0"]);
    line.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned()
}

fn neighbour(room: &Namespace, address: &str) -> String {
    room.run("ip", &["neighbour", "show", "to", address, "dev", "eth0"])
}

/// Goes from alpha to beta while a client asks all the time. The client's table has to change by what it is told.
fn moves(address: &str, prefix: &str, network: &[&str]) {
    let Some(wire) = Wire::new(3) else { return };
    let [alpha, beta, client, _] = wire.rooms.as_slice() else { panic!() };
    for (room, own) in [alpha, beta, client].into_iter().zip(network) {
        room.run("ip", &["address", "add", own, "dev", "eth0", "nodad"]);
    }
    serve(alpha, "alpha");
    serve(beta, "beta");
    let settings = floating(&format!("{address}/{prefix}"));
    let (on_alpha, on_beta) = (on("alpha", &settings), on("beta", &settings));
    alpha.within(|| on_alpha.start(&step()).unwrap());
    assert_eq!(alpha.within(|| on_alpha.condition().unwrap()), Condition::Online);
    assert_eq!(client.within(|| asked(address)).as_deref(), Some("alpha"));
    assert!(neighbour(client, address).contains(&mac(alpha)), "{}", neighbour(client, address));
    // While alpha has it, beta does not take it.
    let trouble = beta.within(|| on_beta.start(&step()).unwrap_err()).to_string();
    assert!(trouble.contains("has it, so it was not taken"), "{trouble}");
    assert!(address.contains(':') || trouble.contains(&mac(alpha)), "{trouble}");
    assert_eq!(beta.within(|| on_beta.condition().unwrap()), Condition::Offline);
    assert_eq!(client.within(|| asked(address)).as_deref(), Some("alpha"));

    let (is_done, answers) = (AtomicBool::new(false), Mutex::new(Vec::<(Instant, String)>::new()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.within(|| {
                let deadline = Instant::now() + Duration::from_secs(60);
                while !is_done.load(Ordering::Relaxed) && Instant::now() < deadline {
                    if let Some(name) = asked(address) {
                        answers.lock().unwrap().push((Instant::now(), name));
                    }
                }
            });
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        let heard = |name: &str| {
            while !answers.lock().unwrap().iter().any(|(_, known)| known == name) {
                assert!(Instant::now() < deadline, "{name} never answered");
                std::thread::sleep(Duration::from_millis(10)); // poll
            }
        };
        heard("alpha");
        alpha.within(|| on_alpha.stop(&step()).unwrap());
        let begun = Instant::now();
        beta.within(|| on_beta.start(&step()).unwrap());
        let took = begun.elapsed();
        // At once: the client has not been waited for.
        let table = neighbour(client, address);
        assert!(table.contains(&mac(beta)), "{table}");
        heard("beta");
        is_done.store(true, Ordering::Relaxed);
        println!("{address}: start took {took:?}");
    });
    let answers = answers.into_inner().unwrap();
    // Never back to the one that gave it away.
    let first = answers.iter().position(|(_, name)| name == "beta").unwrap();
    assert!(answers[first..].iter().all(|(_, name)| name == "beta"));
    println!("{address}: a client waited {:?}", answers[first].0.duration_since(answers[first - 1].0));
    assert_eq!(alpha.within(|| on_alpha.condition().unwrap()), Condition::Offline);
}

#[test]
fn an_ipv4_address_moves_and_the_neighbours_know_at_once() {
    moves("10.0.0.50", "24", &[]);
}

#[test]
fn an_ipv6_address_moves_and_the_neighbours_know_at_once() {
    moves("fd00::50", "64", &["fd00::1/64", "fd00::2/64", "fd00::3/64"]);
}

#[test]
fn an_address_that_two_machines_have_is_seen() {
    let Some(wire) = Wire::new(2) else { return };
    let [alpha, beta, _] = wire.rooms.as_slice() else { panic!() };
    let resource = on("alpha", &floating("10.0.0.50/24"));
    alpha.within(|| resource.start(&step()).unwrap());
    beta.run("ip", &["address", "add", "10.0.0.50/24", "dev", "eth0"]);
    let Condition::Partly(how) = alpha.within(|| resource.condition().unwrap()) else { panic!("not seen") };
    assert!(how.contains(&mac(beta)) && how.contains("too"), "{how}");
}

#[test]
fn only_the_address_itself_is_taken_away() {
    let Some(wire) = Wire::new(1) else { return };
    let [alpha, _] = wire.rooms.as_slice() else { panic!() };
    let resource = on("alpha", &floating("10.0.0.50/24"));
    // It was there first, so that the kernel takes those away that came later with it.
    alpha.run("ip", &["address", "flush", "dev", "eth0"]);
    alpha.within(|| resource.start(&step()).unwrap());
    for other in ["10.0.0.1/24", "10.0.0.51/24", "10.0.0.50/32", "192.168.9.1/24"] {
        alpha.run("ip", &["address", "add", other, "dev", "eth0"]);
    }
    let trouble = alpha.within(|| resource.stop(&step()).unwrap_err()).to_string();
    assert!(trouble.contains("/32, where this group did not put it"), "{trouble}");
    alpha.run("ip", &["address", "del", "10.0.0.50/32", "dev", "eth0"]);
    alpha.within(|| resource.stop(&step()).unwrap());
    let left = alpha.run("ip", &["-o", "-4", "address", "show", "dev", "eth0"]);
    let left: Vec<&str> = left.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    let mut sorted = left.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["10.0.0.1/24", "10.0.0.51/24", "192.168.9.1/24"], "{left:?}");
    // Still reached: its route is there again, too.
    assert!(alpha.run("ip", &["route", "show", "10.0.0.0/24"]).contains("eth0"));
}

#[test]
fn a_missing_interface_and_one_that_is_down_are_said() {
    let Some(wire) = Wire::new(1) else { return };
    let [alpha, _] = wire.rooms.as_slice() else { panic!() };
    let other = settings("", "kind = \"address\"\naddress = \"10.0.0.50/24\"\ninterface = \"odd name\"\n");
    let findings = alpha.within(|| on("alpha", &other).check());
    assert!(findings[0].mend.contains("eth0"), "{}", findings[0]);
    alpha.run("ip", &["link", "set", "eth0", "down"]);
    let trouble = alpha.within(|| on("alpha", &floating("10.0.0.50/24")).start(&step()).unwrap_err());
    assert_eq!(trouble.mend, "ip link set eth0 up");
}
