//! The probes against real peers: dnsmasq, TCP, HTTP and HTTPS servers, echo over loopback, and
//! routers in network namespaces. Needs root, `ip` and `dnsmasq`; lacking one, it fails.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod build;
mod dns;
mod host;
mod http;
mod icmp;
mod ladder;
mod mesh;
mod namespace;
mod service;
mod support;
mod tcp;
