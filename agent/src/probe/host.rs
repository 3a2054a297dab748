//! The machine that the agent runs on.
//!
//! Only what the columns ask for is read. A reading may hang (a failing disk, a stuck file system),
//! so that it runs on a thread of its own; while one is still out, rounds report nothing measured.

use std::time::Duration;

use async_trait::async_trait;
use sysinfo::{Component, Components, DiskRefreshKind, Disks, MemoryRefreshKind, System};
use tokio::{task::JoinHandle, time::timeout};

use super::{BuildError, Cell, Probe, ProbeError, Round, env::Env};
use crate::{
    logs::chain,
    plan::{Column, Group, Metric},
    platform::{self, InterfaceOctets},
};

/// Most names of one kind in an inventory.
pub const MAX_INVENTORY: usize = 32;

/// Measures this machine.
pub struct HostProbe {
    env: Env,
    columns: Vec<Column>,
    timeout: Duration,
    state: State,
}

enum State {
    Idle(Box<Observer>),
    Reading(JoinHandle<(Box<Observer>, Vec<Cell>)>),
    /// A reading panicked and took the observer along; the next round makes another.
    Gone,
}

impl HostProbe {
    /// Takes the first reading of what needs two, such as the processors' use.
    pub fn new(group: &Group, env: &Env) -> Result<Self, BuildError> {
        super::build::check_columns(group, 1, |metric| {
            matches!(
                metric,
                Metric::CpuUtilisation
                    | Metric::MemoryTotal
                    | Metric::MemoryUsed
                    | Metric::SwapUsed
                    | Metric::Load1m
                    | Metric::DiskTotal
                    | Metric::DiskUsed
                    | Metric::HostIfInOctets
                    | Metric::HostIfOutOctets
                    | Metric::Temperature
                    | Metric::Uptime
                    | Metric::Processes
            )
        })?;
        let columns = group.columns.clone();
        let observer = Box::new(Observer::new(&columns).map_err(BuildError::Host)?);
        Ok(Self { env: env.clone(), columns, timeout: group.timeout, state: State::Idle(observer) })
    }

    /// The cells of this round, or `None` when the machine did not tell in time.
    async fn read(&mut self) -> Option<Vec<Cell>> {
        let reading = match std::mem::replace(&mut self.state, State::Gone) {
            State::Idle(observer) => Some(observer),
            State::Reading(reading) if reading.is_finished() => {
                reading.await.ok().map(|(observer, _late)| observer)
            }
            State::Reading(reading) => {
                self.state = State::Reading(reading);
                return None;
            }
            State::Gone => Observer::new(&self.columns).ok().map(Box::new),
        };
        let mut observer = reading?;
        let columns = self.columns.clone();
        let mut reading = tokio::task::spawn_blocking(move || {
            let cells = observer.observe(&columns);
            (observer, cells)
        });
        match timeout(self.timeout, &mut reading).await {
            Ok(Ok((observer, cells))) => {
                self.state = State::Idle(observer);
                Some(cells)
            }
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "cannot observe this machine");
                None
            }
            Err(_elapsed) => {
                tracing::warn!("this machine does not tell its own state in time");
                self.state = State::Reading(reading);
                None
            }
        }
    }
}

#[async_trait]
impl Probe for HostProbe {
    async fn round(&mut self) -> Result<Round, ProbeError> {
        let boot_ns = self.env.clock.boot_ns();
        let cells = self.read().await.unwrap_or_else(|| vec![None; self.columns.len()]);
        Ok(Round { boot_ns, cells, changed: false, events: Vec::new() })
    }
}

/// What is kept between rounds, and only what the columns need.
struct Observer {
    system: System,
    disks: Option<Disks>,
    components: Option<Components>,
    /// The first reading of the processors' use spans no time yet.
    has_cpu: bool,
}

impl Observer {
    fn new(columns: &[Column]) -> Result<Self, sysinfo::Error> {
        let asks = |wanted: &[Metric]| columns.iter().any(|column| wanted.contains(&column.metric));
        let mut observer =
            Self { system: System::new()?, disks: None, components: None, has_cpu: false };
        if asks(&[Metric::CpuUtilisation]) {
            observer.system.refresh_cpu_usage();
        }
        if asks(&[Metric::DiskTotal, Metric::DiskUsed]) {
            observer.disks = Some(Disks::new()?);
        }
        if asks(&[Metric::Temperature]) {
            observer.components = Some(Components::new()?);
        }
        Ok(observer)
    }

    fn observe(&mut self, columns: &[Column]) -> Vec<Cell> {
        let asks = |wanted: &[Metric]| columns.iter().any(|column| wanted.contains(&column.metric));
        let system = &mut self.system;
        if asks(&[Metric::CpuUtilisation]) {
            system.refresh_cpu_usage();
        }
        if asks(&[Metric::MemoryTotal, Metric::MemoryUsed, Metric::SwapUsed]) {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram().with_swap());
        }
        if let Some(disks) = &mut self.disks {
            // The list too: a disk that is no longer mounted must not show the one beneath it.
            disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        }
        if let Some(components) = &mut self.components {
            components.refresh(true);
        }
        let interfaces = if asks(&[Metric::HostIfInOctets, Metric::HostIfOutOctets]) {
            platform::interface_octets().unwrap_or_default()
        } else {
            Vec::new()
        };
        let sensors = self.components.as_ref().map(|components| sensors(components.iter()));
        let sensors = sensors.unwrap_or_default();
        let cells = columns.iter().map(|column| self.cell(column, &interfaces, &sensors)).collect();
        self.has_cpu = true;
        cells
    }

    fn cell(
        &self,
        column: &Column,
        interfaces: &[InterfaceOctets],
        sensors: &[(String, &Component)],
    ) -> Cell {
        let system = &self.system;
        // A machine without memory does not run this: the kernel did not tell.
        let total = Some(system.total_memory()).filter(|total| *total > 0);
        let disk = || self.disk(&column.label);
        let interface = || interfaces.iter().find(|interface| interface.name == column.label);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the metrics of all other probes")]
        match column.metric {
            // Percent to 1/10,000.
            Metric::CpuUtilisation if self.has_cpu => scaled(system.global_cpu_usage(), 100.0),
            Metric::MemoryTotal => whole(total?),
            Metric::MemoryUsed => whole(total?.saturating_sub(system.available_memory())),
            Metric::SwapUsed => {
                total?;
                whole(system.total_swap().saturating_sub(system.free_swap()))
            }
            Metric::Load1m => scaled(System::load_average().ok()?.one, 100.0),
            Metric::DiskTotal => whole(disk()?.total_space()),
            Metric::DiskUsed => {
                let disk = disk()?;
                whole(disk.total_space().saturating_sub(disk.available_space()))
            }
            Metric::HostIfInOctets => whole(interface()?.received),
            Metric::HostIfOutOctets => whole(interface()?.sent),
            Metric::Temperature => {
                let (_, sensor) = sensors.iter().find(|(label, _)| *label == column.label)?;
                scaled(sensor.temperature()?, 10.0)
            }
            Metric::Uptime => whole(System::uptime().ok()?),
            Metric::Processes => whole(platform::process_count().ok()?),
            _ => None,
        }
    }

    /// The disk mounted at `mount_point`: the last one, which hides those mounted there before.
    fn disk(&self, mount_point: &str) -> Option<&sysinfo::Disk> {
        let mut disks = self.disks.as_ref()?.iter().rev();
        disks
            .find(|disk| disk.mount_point().as_os_str() == mount_point)
            // Unread, rather than without room.
            .filter(|disk| disk.total_space() > 0)
    }
}

fn whole(value: u64) -> Cell {
    i64::try_from(value).ok()
}

/// `value` times `scale`, rounded; `None` for what is not a number.
fn scaled(value: impl Into<f64>, scale: f64) -> Cell {
    let scaled = (value.into() * scale).round();
    #[expect(clippy::cast_possible_truncation, reason = "far inside the range of i64")]
    (scaled.abs() < 1e15).then_some(scaled as i64)
}

/// What this machine has that can be watched: real disks, outward interfaces, sensors. Each list
/// ends at [`MAX_INVENTORY`]. May wait for disks: call it where waiting is allowed.
pub fn inventory() -> Result<proto::v1::HostInventory, sysinfo::Error> {
    let kind = DiskRefreshKind::nothing().with_storage();
    let disks = Disks::new_with_refreshed_list_specifics(kind)?;
    let mounted: Vec<Mounted> = disks
        .iter()
        .filter(|disk| disk.total_space() > 0)
        .filter_map(|disk| {
            Some(Mounted {
                device: disk.name().to_str()?,
                file_system: disk.file_system().to_str()?,
                mount_point: disk.mount_point().to_str()?,
            })
        })
        .collect();
    let mut interfaces: Vec<String> = platform::interface_octets()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.name)
        .filter(|name| !platform::is_internal_interface(name))
        .collect();
    interfaces.truncate(MAX_INVENTORY);
    let components = Components::new_with_refreshed_list()?;
    let sensors = sensors(components.iter()).into_iter();
    let sensors = sensors.filter(|(_, sensor)| sensor.temperature().is_some());
    let sensors = sensors.map(|(label, _)| label).take(MAX_INVENTORY).collect();
    Ok(proto::v1::HostInventory { disks: real_disks(&mounted), interfaces, sensors })
}

/// Sensors under labels of their own.
fn sensors<'a>(components: impl Iterator<Item = &'a Component>) -> Vec<(String, &'a Component)> {
    let labelled = components.map(|sensor| (sensor.label(), sensor.id().unwrap_or(""), sensor));
    numbered(labelled.collect())
}

/// Labels that are all different: of two processors or disks of one make, the second is `label #2`, in
/// the order of the kernel's ids, which stay while the hardware does. Given are labels, ids, and what
/// they stand for.
fn numbered<T>(mut labelled: Vec<(&str, &str, T)>) -> Vec<(String, T)> {
    // Ids end in numbers: of two, the longer is the larger.
    labelled.sort_by_key(|(label, id, _)| (*label, id.len(), *id));
    let mut last: Option<(&str, usize)> = None;
    let mut named = Vec::with_capacity(labelled.len());
    for (label, _, what) in labelled {
        let number =
            last.filter(|(before, _)| *before == label).map_or(1, |(_, number)| number + 1);
        last = Some((label, number));
        let own = if number == 1 { label.to_owned() } else { format!("{label} #{number}") };
        named.push((own, what));
    }
    named
}

#[derive(Debug, Clone, Copy)]
struct Mounted<'a> {
    device: &'a str,
    file_system: &'a str,
    mount_point: &'a str,
}

/// Mount points of real disks, one per device: the shortest path, which is where it was mounted
/// before parts of it were bound elsewhere.
fn real_disks(mounted: &[Mounted]) -> Vec<String> {
    let mut real: Vec<Mounted> = Vec::new();
    for disk in mounted {
        if !platform::volumes::is_local_disk(disk.file_system) {
            continue;
        }
        match real.iter_mut().find(|known| known.device == disk.device) {
            Some(known) if disk.mount_point.len() < known.mount_point.len() => *known = *disk,
            Some(_) => {}
            None => real.push(*disk),
        }
    }
    real.truncate(MAX_INVENTORY);
    real.into_iter().map(|disk| disk.mount_point.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_listed_once_and_what_is_no_disk_never() {
        let mounted = [
            ("/dev/sda1", "ext4", "/var/lib/docker/volumes"),
            ("/dev/sda1", "ext4", "/"),
            ("/dev/sda1", "ext4", "/etc/hosts"),
            ("tmpfs", "tmpfs", "/tmp"),
            ("overlay", "overlay", "/var/lib/docker/overlay2/x/merged"),
            ("srv:/home", "nfs4", "/home"),
            ("sshfs", "fuse.sshfs", "/mnt"),
            ("/dev/sdb1", "fuseblk", "/backup"),
        ]
        .map(|(device, file_system, mount_point)| Mounted {
            device,
            file_system,
            mount_point,
        });
        assert_eq!(real_disks(&mounted), ["/", "/backup"]);
    }

    #[test]
    fn sensors_of_one_label_are_numbered_in_the_order_of_their_ids() {
        let found = [
            ("nvme Composite", "hwmon10_1", 'c'),
            ("coretemp Core 0", "hwmon2_2", 'd'),
            ("nvme Composite", "hwmon3_1", 'b'),
            ("acpitz", "", 'a'),
            ("nvme Composite", "hwmon2_1", 'e'),
        ];
        let labels = ["acpitz", "coretemp Core 0", "nvme Composite", "nvme Composite #2"];
        let all = numbered(found.to_vec());
        let told: Vec<_> = all.iter().map(|(label, what)| (label.as_str(), *what)).collect();
        let expected =
            labels.into_iter().chain(["nvme Composite #3"]).zip(['a', 'd', 'e', 'b', 'c']);
        assert_eq!(told, expected.collect::<Vec<_>>());
    }

    #[test]
    fn an_inventory_ends_at_its_cap() {
        let names: Vec<String> = (0..=MAX_INVENTORY).map(|disk| format!("/disk{disk}")).collect();
        let mounted: Vec<Mounted> = names
            .iter()
            .map(|name| Mounted { device: name, file_system: "ext4", mount_point: name })
            .collect();
        assert_eq!(real_disks(&mounted).len(), MAX_INVENTORY);
    }

    #[test]
    fn figures_are_scaled_and_never_invented() {
        assert_eq!(scaled(12.345_f32, 100.0), Some(1235));
        assert_eq!(scaled(-0.04, 10.0), Some(0));
        assert_eq!(scaled(-7.5_f32, 10.0), Some(-75));
        assert_eq!(scaled(f32::NAN, 100.0), None);
        assert_eq!(scaled(f64::INFINITY, 100.0), None);
        assert_eq!(whole(u64::MAX), None);
    }
}
