//! This machine, against what its kernel says by other ways.

use std::{
    fs,
    net::UdpSocket,
    time::{Duration, Instant},
};

use agent::{
    plan::{Column, Metric, ProbeKind},
    probe::{Cell, host},
};

use crate::support::{Subject, TIMEOUT, loopback};

fn subject(columns: &[(Metric, &str)]) -> Subject {
    let column = |(metric, label): &(Metric, &str)| {
        let label = (*label).to_owned();
        Column { target: 0, metric: *metric, instance: 0, label }
    };
    let columns = columns.iter().map(column).collect();
    Subject::of_columns(ProbeKind::Host, columns, &loopback(), TIMEOUT)
}

fn meminfo(name: &str) -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<i64>().unwrap() * 1024
}

#[track_caller]
fn near(cell: Cell, expected: i64, tolerance: i64) {
    assert!(cell.is_some_and(|cell| (cell - expected).abs() <= tolerance), "{cell:?} {expected}");
}

#[tokio::test]
async fn figures_agree_with_the_kernels() {
    let mut subject = subject(&[
        (Metric::CpuUtilisation, ""),
        (Metric::MemoryTotal, ""),
        (Metric::MemoryUsed, ""),
        (Metric::SwapUsed, ""),
        (Metric::Load1m, ""),
        (Metric::DiskTotal, "/"),
        (Metric::DiskUsed, "/"),
        (Metric::Uptime, ""),
        (Metric::Processes, ""),
    ]);
    let first = subject.round().await;
    assert_eq!(first.get(0, Metric::CpuUtilisation), None, "one reading spans no time");
    // Something to see for the processors.
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    let round = subject.round().await;
    let use_of_cpu = round.get(0, Metric::CpuUtilisation).unwrap();
    assert!((1..=10_000).contains(&use_of_cpu), "{use_of_cpu}");
    assert_eq!(round.get(0, Metric::MemoryTotal), Some(meminfo("MemTotal:")));
    let used = meminfo("MemTotal:") - meminfo("MemAvailable:");
    near(round.get(0, Metric::MemoryUsed), used, 256 << 20);
    near(round.get(0, Metric::SwapUsed), meminfo("SwapTotal:") - meminfo("SwapFree:"), 64 << 20);
    let first_word = |path: &str| {
        let text = fs::read_to_string(path).unwrap();
        text.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    #[expect(clippy::cast_possible_truncation, reason = "a load and an uptime are small")]
    let (load, uptime) =
        ((first_word("/proc/loadavg") * 100.0) as i64, first_word("/proc/uptime") as i64);
    near(round.get(0, Metric::Load1m), load, 100);
    near(round.get(0, Metric::Uptime), uptime, 2);
    let disk = rustix::fs::statvfs("/").unwrap();
    let total = i64::try_from(disk.f_blocks * disk.f_frsize).unwrap();
    let free = i64::try_from(disk.f_bavail * disk.f_frsize).unwrap();
    assert_eq!(round.get(0, Metric::DiskTotal), Some(total));
    near(round.get(0, Metric::DiskUsed), total - free, 1 << 30);
    let processes = round.get(0, Metric::Processes).unwrap();
    assert!((1..100_000).contains(&processes), "{processes}");
}

#[tokio::test]
async fn an_interfaces_octets_grow_with_its_traffic() {
    let mut subject = subject(&[(Metric::HostIfInOctets, "lo"), (Metric::HostIfOutOctets, "lo")]);
    let before = subject.round().await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..10 {
        socket.send_to(&[0; 1000], socket.local_addr().unwrap()).unwrap();
    }
    let after = subject.round().await;
    for metric in [Metric::HostIfInOctets, Metric::HostIfOutOctets] {
        let grown = after.labelled(metric, "lo").unwrap() - before.labelled(metric, "lo").unwrap();
        assert!(grown >= 10_000, "{grown}");
    }
}

#[tokio::test]
async fn what_this_machine_does_not_have_is_not_measured() {
    let columns = [
        (Metric::DiskTotal, "/no/such/mount"),
        (Metric::DiskUsed, ""),
        (Metric::HostIfInOctets, "../../etc/passwd"),
        (Metric::HostIfOutOctets, ""),
        (Metric::Temperature, "no such sensor"),
    ];
    let round = subject(&columns).round().await;
    for (metric, label) in columns {
        assert_eq!(round.labelled(metric, label), None, "{label}");
    }
}

#[test]
fn the_inventory_is_what_can_be_measured() {
    let inventory = host::inventory().unwrap();
    println!("{inventory:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let lists = [
            (Metric::DiskTotal, &inventory.disks),
            (Metric::HostIfInOctets, &inventory.interfaces),
            (Metric::Temperature, &inventory.sensors),
        ];
        for (metric, labels) in lists {
            for label in labels {
                let round = subject(&[(metric, label)]).round().await;
                assert!(round.labelled(metric, label).is_some(), "{metric:?} {label}");
            }
        }
    });
    assert!(!inventory.interfaces.iter().any(|name| name == "lo"));
}
