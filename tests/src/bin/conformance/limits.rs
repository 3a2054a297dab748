//! How much of what is known of the devices was learnt, as `score.py` counts it, against the limits.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Least share of what is known that is to be found, mean over the devices.
const RECALL: [(&str, f64); 11] = [
    ("ports", 0.99),
    ("supplies", 0.95),
    ("neighbours", 0.95),
    ("inventory", 0.95),
    ("storage", 0.90),
    ("vlans", 0.85),
    ("identity", 0.90),
    ("cpu", 0.90),
    ("memory", 0.90),
    ("sensors", 0.85),
    ("wireless", 0.80),
];
/// Least share of what is reported that is right, mean over the devices.
const PRECISION: f64 = 0.95;
/// Sections of which more than is known is no fault: what is known of them is a choice.
const PRECISION_IS_A_HINT: [&str; 4] = ["sensors", "storage", "memory", "cpu"];

/// Scores what is in `out`; true when every limit is kept, or when only some devices were asked.
pub(crate) fn check(snmp: &Path, out: &Path, devices: &[String]) -> Result<bool> {
    let scores = score(snmp, out, devices)?;
    let mut recalls = BTreeMap::<&str, Vec<f64>>::new();
    let mut precisions = BTreeMap::<&str, Vec<f64>>::new();
    for device in &scores {
        for (section, _) in RECALL {
            let figures = &device["sections"][section];
            recalls.entry(section).or_default().extend(figures["recall"].as_f64());
            precisions.entry(section).or_default().extend(figures["precision"].as_f64());
        }
    }
    println!("{:<12} {:>7} {:>8} {:>6} {:>10}", "", "devices", "recall", "limit", "precision");
    let mut is_good = true;
    for (section, limit) in RECALL {
        let found = recalls.remove(section).unwrap_or_default();
        let right = precisions.remove(section).unwrap_or_default();
        let (Some(recall), Some(precision)) = (mean(&found), mean(&right)) else {
            ensure!(!devices.is_empty(), "nothing is known of {section}");
            continue;
        };
        let is_hint = PRECISION_IS_A_HINT.contains(&section);
        let mut faults = Vec::new();
        if recall < limit {
            faults.push("too little found");
        }
        if precision < PRECISION && !is_hint {
            faults.push("too much wrong");
        }
        is_good &= faults.is_empty();
        println!(
            "{section:<12} {:>7} {:>8.1} {:>6.0} {:>10} {}",
            found.len(),
            100.0 * recall,
            100.0 * limit,
            format!("{:.1}{}", 100.0 * precision, if is_hint { "*" } else { " " }),
            faults.join(", "),
        );
    }
    println!("* more than is known is no fault here");
    Ok(is_good || !devices.is_empty())
}

/// The score of each device.
fn score(snmp: &Path, out: &Path, devices: &[String]) -> Result<Vec<Value>> {
    let directory = tempfile::tempdir()?;
    let mut scores = Vec::new();
    // The script takes one device, or all.
    let given: Vec<Option<&String>> =
        if devices.is_empty() { vec![None] } else { devices.iter().map(Some).collect() };
    for device in given {
        let file = directory.path().join("score.json");
        let mut command = Command::new("python3");
        command
            .arg(snmp.join("score.py"))
            .arg(snmp.join("expected"))
            .arg(out)
            .arg("--json")
            .arg(&file);
        if let Some(device) = device {
            command.args(["--device", device, "--verbose"]);
        }
        let output = command.output().context("cannot run python3")?;
        let told = String::from_utf8_lossy(&output.stdout);
        let faults = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "score.py: {faults}");
        print!("{told}");
        let text = fs::read_to_string(&file).context("cannot read the scores")?;
        let all: Value = serde_json::from_str(&text).context("the scores are no JSON")?;
        let all = all["devices"].as_object().context("no scores of devices")?;
        scores.extend(all.values().cloned());
    }
    Ok(scores)
}

fn mean(figures: &[f64]) -> Option<f64> {
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}
