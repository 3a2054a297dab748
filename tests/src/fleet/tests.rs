use super::*;

const MIDNIGHT_MS: i64 = 1_772_409_600_000;

fn day(number: u32) -> (Vec<i64>, Vec<Vec<i64>>) {
    let mut school = School::new(7, number, MIDNIGHT_MS, DAY_ROUNDS);
    let (mut times, mut series) = (Vec::new(), vec![Vec::new(); SERIES]);
    let mut cells = Vec::new();
    while let Some(t_ms) = school.next_round(&mut cells) {
        times.push(t_ms);
        for (column, cell) in series.iter_mut().zip(&cells) {
            column.push(cell.unwrap());
        }
    }
    (times, series)
}

#[test]
fn a_school_has_the_series_of_the_definition() {
    let columns = columns();
    let share = |metric| columns.iter().filter(|c| c.metric == metric).count() * 100 / SERIES;
    assert_eq!(columns.len(), SERIES);
    assert_eq!(columns.iter().filter(|c| c.detail == Detail::Coarse).count(), COARSE);
    let shares = [IN_OCTETS, OUT_OCTETS, OPER_STATUS, RTT, LOSS, CPU, TEMPERATURE, DISK].map(share);
    assert_eq!(shares, [35, 35, 10, 6, 6, 3, 3, 2]);
    let (place, out) = link_places(3);
    assert_eq!((columns[place].metric, columns[out].metric), (IN_OCTETS, OUT_OCTETS));
    assert_eq!((columns[place].instance, columns[out].instance), (3, 3));
}

#[test]
fn the_same_seed_gives_the_same_school_and_another_number_another() {
    assert_eq!(day(1), day(1));
    assert_ne!(day(1), day(2));
}

#[test]
fn three_ports_in_ten_are_idle_and_rounds_are_a_minute_apart_with_jitter() {
    let (times, series) = day(3);
    let idle = series[..70].iter().filter(|s| s.iter().all(|v| *v == s[0])).count();
    assert_eq!(idle, 21);
    let off: Vec<_> = (0..).zip(&times).map(|(i, t)| t - MIDNIGHT_MS - i * PERIOD_MS).collect();
    assert!(off.iter().all(|off| (0..20).contains(off)));
    assert!(off.iter().max().unwrap() - off.iter().min().unwrap() > 15);
}

#[test]
fn the_noise_is_that_of_the_fleet_which_the_peers_were_given() {
    let (mut of_in, mut of_out) = (0, 0);
    for number in 0..4 {
        let (_, series) = day(number);
        let size = |columns: &[Vec<i64>]| -> usize {
            columns
                .iter()
                .map(|column| {
                    let config = pco::ChunkConfig::default();
                    pco::standalone::simple_compress(column, &config).unwrap().len()
                })
                .sum()
        };
        of_in += size(&series[..70]);
        of_out += size(&series[70..140]);
    }
    let samples = f64::from(4 * 70 * DAY_ROUNDS);
    let (of_in, of_out) = (of_in as f64 / samples, of_out as f64 / samples);
    assert!((1.74..1.80).contains(&of_in), "in: {of_in:.3} bytes a sample");
    assert!((1.58..1.64).contains(&of_out), "out: {of_out:.3} bytes a sample");
}
