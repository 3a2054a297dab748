//! Questions to a running collector that several benches ask.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{api::items, collector::Collector};

/// Longest wait for a page.
const PATIENCE: Duration = Duration::from_secs(10);

/// A figure of the collector's `/metrics`; its labels, if any, are summed up.
pub fn metric(address: SocketAddr, name: &str) -> Result<f64> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = rest.split_once('}').map_or(rest, |(_, behind)| behind);
        rest.strip_prefix(' ')?.trim().parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value).with_context(|| format!("no {name} among the metrics"))
}

/// Ids of the series of one metric at a site.
pub fn series(collector: &Collector, uai: &str, metric: &str) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    let mut after = String::new();
    loop {
        let list =
            collector.get(&format!("/series?uai={uai}&metric={metric}&limit=1000{after}"))?;
        ids.extend(items(&list).iter().filter_map(|item| item["id"].as_i64()));
        match list["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(ids),
        }
    }
}

/// The points of a series as measured: time in Unix milliseconds, and value.
pub fn points(collector: &Collector, series: i64, from: &str) -> Result<Vec<(i64, Value)>> {
    let answer = collector.get(&format!("/series/{series}/samples?from={from}&step=raw"))?;
    let points = answer["points"].as_array().context("an answer without points")?;
    points
        .iter()
        .map(|point| {
            let at: jiff::Timestamp =
                point["time"].as_str().context("a point without time")?.parse()?;
            Ok((at.as_millisecond(), point["value"].clone()))
        })
        .collect()
}
