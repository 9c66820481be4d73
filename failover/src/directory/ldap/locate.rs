//! Where controllers are: DNS, asked at given servers or in the system's ways.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::super::DirectoryError;

/// A record that names a server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// The lower, the sooner.
    pub(super) priority: u16,
    /// Among those of a priority, the heavier, the more often first.
    pub(super) weight: u16,
    /// Where it is.
    pub(super) host: String,
}

/// The addresses of a host, in the order in which they are to be tried.
pub(super) async fn addresses(host: &str, port: u16, name_servers: &[IpAddr]) -> Result<Vec<SocketAddr>, DirectoryError> {
    let failed = |why: String| DirectoryError::Unreachable { server: format!("{host}:{port}"), why };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if name_servers.is_empty() {
        let found = tokio::net::lookup_host((host, port)).await;
        return found.map(Iterator::collect).map_err(|error| failed(format!("its name is not known: {error}")));
    }
    let resolver = resolver(name_servers).map_err(failed)?;
    let found = resolver.lookup_ip(absolute(host)).await.map_err(|error| failed(format!("its name is not known: {error}")))?;
    Ok(found.iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// The controllers of a domain, in the order in which they are to be tried (MS-ADTS 6.3.2.3). `seed` decides among those of equal rank.
pub(super) async fn controllers(domain: &str, name_servers: &[IpAddr], seed: u64) -> Result<Vec<String>, DirectoryError> {
    let question = format!("_ldap._tcp.dc._msdcs.{domain}");
    let failed =
        |why: String| DirectoryError::Unreachable { server: question.clone(), why: format!("DNS names no controller: {why}") };
    let resolver = resolver(name_servers).map_err(failed)?;
    let found = resolver.srv_lookup(absolute(&question)).await.map_err(|error| failed(error.to_string()))?;
    let services = found.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => {
            let host = srv.target.to_string().trim_end_matches('.').to_owned();
            Some(Service { priority: srv.priority, weight: srv.weight, host })
        }
        _ => None,
    });
    let hosts = in_order(services.collect(), seed);
    if hosts.is_empty() { Err(failed("the answer is empty".to_owned())) } else { Ok(hosts) }
}

fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

fn resolver(name_servers: &[IpAddr]) -> Result<TokioResolver, String> {
    let mut builder = if name_servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| format!("the system's DNS settings cannot be read: {error}"))?
    } else {
        let servers = name_servers.iter().map(|address| NameServerConfig::udp_and_tcp(*address)).collect();
        TokioResolver::builder_with_config(ResolverConfig::from_name_servers(servers), TokioRuntimeProvider::default())
    };
    builder.options_mut().timeout = Duration::from_secs(3);
    builder.build().map_err(|error| error.to_string())
}

/// By priority; within one, drawn by weight (RFC 2782, "Usage rules").
fn in_order(mut services: Vec<Service>, mut seed: u64) -> Vec<String> {
    services.sort_by_key(|service| (service.priority, service.weight, service.host.clone()));
    let mut hosts = Vec::new();
    while let Some(first) = services.first() {
        let same = services.iter().take_while(|service| service.priority == first.priority).count();
        let sum: u64 = services[..same].iter().map(|service| u64::from(service.weight)).sum();
        // Knuth's linear congruence (MMIX) is random enough to spread clients.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut drawn = (seed >> 33) % (sum + 1);
        let at = services[..same].iter().position(|service| {
            let hit = u64::from(service.weight) >= drawn;
            drawn = drawn.saturating_sub(u64::from(service.weight));
            hit
        });
        hosts.push(services.remove(at.unwrap_or(0)).host);
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        Service { priority, weight, host: host.to_owned() }
    }

    #[test]
    fn the_lower_priority_comes_first_and_the_heavier_more_often() {
        let services = vec![service(1, 0, "far"), service(0, 30, "heavy"), service(0, 10, "light"), service(0, 0, "idle")];
        let orders: Vec<Vec<String>> = (0..1000).map(|seed| in_order(services.clone(), seed)).collect();
        assert!(orders.iter().all(|order| order.len() == 4 && order[3] == "far"));
        let first = |host: &str| orders.iter().filter(|order| order[0] == host).count();
        assert!(first("heavy") > 600 && first("light") > 150 && first("idle") < 100, "{} {}", first("heavy"), first("light"));
    }
}
