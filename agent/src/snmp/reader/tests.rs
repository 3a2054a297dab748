//! The reading against simulated devices, without a socket.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::snmp::{
    session::{NO_SUCH_NAME, TOO_BIG},
    tables::{Extent, Value},
};

type Mib = BTreeMap<Arcs, Value>;

/// What a device does beside answering.
#[derive(Debug, Clone)]
struct Manners {
    /// Values of one reply at most.
    most: usize,
    /// Bytes of values of one reply at most; a larger one is lost on the way.
    bytes: usize,
    /// Knows bulk requests.
    bulk: bool,
    /// Values that the crate can not decode.
    broken: Vec<Arcs>,
    /// Names at which it keeps silent.
    deadly: Vec<Arcs>,
}

impl Default for Manners {
    fn default() -> Self {
        let (broken, deadly) = (Vec::new(), Vec::new());
        Self { most: usize::MAX, bytes: usize::MAX, bulk: true, broken, deadly }
    }
}

/// A finished reading, and what it took.
struct Done {
    tables: Tables,
    questions: usize,
    received: usize,
    is_capped: bool,
    gave_up: Option<Fault>,
    /// How often each instance was sent.
    sent: BTreeMap<Arcs, usize>,
}

fn read_from(mib: &Mib, manners: &Manners, wanted: &[Wanted], limits: &Limits) -> Done {
    let mut cursors = Cursors::new(wanted, limits);
    let mut pace = Pace::new(0);
    let (mut questions, mut received) = (0, 0);
    let mut sent = BTreeMap::new();
    let mut gave_up = None;
    while let Some(question) = cursors.question(&pace, manners.bulk) {
        questions += 1;
        assert!(questions < 100_000, "an endless reading");
        let (columns, repetitions) = match &question {
            Question::Next(cursor) => (cursor.to_vec(), 1),
            Question::Bulk { cursors, repetitions } => (cursors.clone(), *repetitions),
        };
        assert!((1..=30).contains(&columns.len()) && (1..=20).contains(&repetitions));
        assert!(manners.bulk || matches!(question, Question::Next(_)));
        let names = columns.iter().map(|at| cursors.position(*at).to_vec()).collect();
        match answer(mib, manners, names, repetitions) {
            Ok(varbinds) => {
                for (name, _) in &varbinds {
                    if let Some(name) = name {
                        *sent.entry(name.clone()).or_default() += 1;
                    }
                }
                received += cursors.answered(&question, varbinds.into_iter(), &mut pace);
            }
            Err(fault) => {
                if cursors.failed(&question, &fault, &mut pace) == Verdict::GiveUp {
                    gave_up = Some(fault);
                    break;
                }
            }
        }
    }
    let is_capped = cursors.is_capped();
    Done { tables: cursors.finish(), questions, received, is_capped, gave_up, sent }
}

/// What a well-behaved agent with these manners answers.
fn answer(
    mib: &Mib,
    manners: &Manners,
    mut names: Vec<Vec<u32>>,
    repetitions: u16,
) -> Result<Vec<(Option<Arcs>, Content)>, Fault> {
    let mut list = Vec::new();
    let mut bytes = 0;
    for _ in 0..repetitions {
        for name in &mut names {
            if list.len() == manners.most {
                return Ok(list);
            }
            let after =
                (std::ops::Bound::Excluded(Arcs::from(&name[..])), std::ops::Bound::Unbounded);
            let Some((next, value)) = mib.range(after).next() else {
                if !manners.bulk {
                    return Err(Fault::Status { status: NO_SUCH_NAME, index: 1 });
                }
                list.push((Some(Arcs::from(&name[..])), Content::End));
                continue;
            };
            if manners.deadly.contains(next) {
                return Err(Fault::Timeout);
            }
            if manners.broken.contains(next) {
                return Ok(list);
            }
            bytes += if let Value::Bytes(content) = value { content.len() } else { 4 };
            if bytes > manners.bytes {
                return Err(Fault::Timeout);
            }
            *name = next.to_vec();
            list.push((Some(next.clone()), Content::Value(Some(value.clone()))));
        }
    }
    Ok(list)
}

const TABLE: [u32; 6] = [1, 3, 6, 1, 2, 1];

fn column(table: u32, column: u32) -> Arcs {
    [&TABLE[..], &[table, 1, column]].concat().into()
}

fn instance(base: &[u32], index: &[u32]) -> Arcs {
    [base, index].concat().into()
}

/// Tables by number, each with its columns from 1 on and its rows from 1 on.
fn tables(shapes: &[(u32, u32, u32)]) -> Mib {
    let mut mib = Mib::new();
    for &(table, columns, rows) in shapes {
        for number in 1..=columns {
            for row in 1..=rows {
                let name = instance(&column(table, number), &[row]);
                mib.insert(name, Value::Integer(i64::from(number * 1000 + row)));
            }
        }
    }
    mib
}

fn all(tables: impl IntoIterator<Item = u32>, columns: u32) -> Vec<Wanted> {
    tables
        .into_iter()
        .flat_map(|table| (1..=columns).map(move |number| Wanted::Column(column(table, number))))
        .collect()
}

/// Every wanted value is there, and nothing else; every column is whole.
fn check(done: &Done, mib: &Mib, wanted: &[Wanted]) {
    for one in wanted {
        let base = one.base();
        let below: Vec<(Arcs, &Value)> = mib
            .iter()
            .filter_map(|(name, value)| Some((Arcs::from(name.strip_prefix(base)?), value)))
            .filter(|(index, _)| !index.is_empty())
            .collect();
        let read: Vec<(Arcs, &Value)> =
            done.tables.rows(base).map(|(index, value)| (index.into(), value)).collect();
        assert_eq!(read, below, "{base:?}");
        assert_eq!(done.tables.extent(base), Some(Extent::Whole), "{base:?}");
    }
}

fn read_all(mib: &Mib, manners: &Manners, wanted: &[Wanted]) -> Done {
    let done = read_from(mib, manners, wanted, &Limits::default());
    check(&done, mib, wanted);
    done
}

#[test]
fn a_switch_is_read_in_as_many_requests_as_its_values_need() {
    let mib = tables(&[(2, 22, 52), (31, 19, 52)]);
    let wanted = [all([2], 22), all([31], 19)].concat();
    let done = read_all(&mib, &Manners::default(), &wanted);
    let values = 52 * 41;
    assert!(done.received < values + 200, "{} values for {values}", done.received);
    assert!(done.questions <= values / 45 + 3, "{} questions", done.questions);
}

#[test]
fn absent_tables_cost_next_to_nothing() {
    let mib = tables(&[(2, 10, 20), (900, 1, 1)]);
    let done = read_all(&mib, &Manners::default(), &all(1..=300, 10));
    assert!(done.questions <= 25, "{} questions", done.questions);
    assert!(done.received <= 700, "{} values", done.received);
}

#[test]
fn nothing_wanted_is_received_twice() {
    let mib = tables(&[(2, 10, 30), (3, 4, 7), (4, 1, 1), (9, 12, 100)]);
    let done = read_all(&mib, &Manners::default(), &all([2, 3, 4, 9], 12));
    let twice = done.sent.values().filter(|times| **times > 1).count();
    // Only where one column's last request runs on into the next, which has begun.
    assert!(twice <= 120, "{twice} of {} values were sent again", done.sent.len());
}

#[test]
fn scalars_and_first_instances_cost_one_value_each() {
    let mut mib = tables(&[(2, 3, 500)]);
    for object in 1..=6 {
        mib.insert([1, 3, 6, 1, 2, 1, 1, object, 0].into(), Value::Integer(i64::from(object)));
    }
    let wanted: Vec<Wanted> = (1..=6)
        .map(|object| Wanted::from(&[1, 3, 6, 1, 2, 1, 1, object, 0][..]))
        .chain([Wanted::First(column(2, 2)), Wanted::First(column(3, 1))])
        .collect();
    let done = read_from(&mib, &Manners::default(), &wanted, &Limits::default());
    assert_eq!((done.questions, done.received), (1, 8));
    for object in 1..=6 {
        let base = [1, 3, 6, 1, 2, 1, 1, object];
        assert_eq!(done.tables.get(&base, &[0]), Some(&Value::Integer(i64::from(object))));
        assert_eq!(done.tables.extent(&base), Some(Extent::Whole));
    }
    assert_eq!(done.tables.rows(&column(2, 2)).count(), 1);
    assert_eq!(done.tables.extent(&column(2, 2)), Some(Extent::Partial));
    assert_eq!(done.tables.rows(&column(3, 1)).count(), 0);
    assert_eq!(done.tables.extent(&column(3, 1)), Some(Extent::Whole));
}

#[test]
fn a_scalar_that_is_a_table_after_all_has_no_value() {
    let mib = tables(&[(2, 1, 3)]);
    let wanted = [Wanted::Scalar(column(2, 1))];
    let done = read_from(&mib, &Manners::default(), &wanted, &Limits::default());
    assert_eq!(done.tables.rows(&column(2, 1)).count(), 0);
    assert_eq!(done.questions, 1);
}

#[test]
fn columns_within_one_another_and_wanted_twice_are_read_once() {
    let mib = tables(&[(2, 5, 40)]);
    let whole: Arcs = [&TABLE[..], &[2]].concat().into();
    let entry: Arcs = [&TABLE[..], &[2, 1]].concat().into();
    let wanted = [
        Wanted::Column(whole),
        Wanted::Column(column(2, 3)),
        Wanted::Column(entry),
        Wanted::Column(column(2, 3)),
        Wanted::First(column(2, 3)),
    ];
    let done = read_all(&mib, &Manners::default(), &wanted);
    assert!(done.received <= 340, "{} values for 200", done.received);
}

#[test]
fn a_device_of_version_1_is_stepped_through() {
    let mib = tables(&[(2, 3, 8), (7, 2, 2)]);
    let manners = Manners { bulk: false, ..Manners::default() };
    let done = read_all(&mib, &manners, &all([1, 2, 3, 7, 8], 4));
    assert!(done.questions <= 28 + 12, "{} questions", done.questions);
}

#[test]
fn values_of_twelve_kilobytes_slow_only_their_own_column_down() {
    let mut mib = tables(&[(2, 10, 40)]);
    for row in 1..=20 {
        let name = instance(&column(3, 1), &[row]);
        mib.insert(name, Value::Bytes(vec![b'x'; 12_000].into()));
    }
    let manners = Manners { bytes: 65_000, ..Manners::default() };
    let done = read_all(&mib, &manners, &[all([2], 10), all([3], 1)].concat());
    assert!(done.questions <= 20 + 15 + 10, "{} questions", done.questions);
}

#[test]
fn a_device_that_swallows_bulk_requests_is_stepped_through() {
    let mib = tables(&[(2, 3, 10)]);
    let wanted = all([2, 3], 3);
    // Whatever holds more than one value is lost.
    let manners = Manners { bytes: 4, ..Manners::default() };
    let done = read_all(&mib, &manners, &wanted);
    assert!(done.questions <= 80, "{} questions", done.questions);
}

#[test]
fn a_device_that_falls_silent_is_given_up_after_a_few_questions() {
    let mib = tables(&[(2, 20, 50), (3, 20, 50)]);
    let wanted = all(1..=100, 20);
    let deadly: Vec<Arcs> = mib.keys().cloned().collect();
    let manners = Manners { deadly, ..Manners::default() };
    let done = read_from(&mib, &manners, &wanted, &Limits::default());
    assert!(matches!(done.gave_up, Some(Fault::Timeout)));
    assert!(done.questions <= 8, "{} questions", done.questions);
    assert_eq!(done.tables.extent(&column(2, 1)), Some(Extent::Partial));
}

#[test]
fn a_deadly_value_costs_its_column_and_no_other() {
    let mib = tables(&[(2, 6, 40), (3, 4, 30)]);
    let manners = Manners { deadly: vec![instance(&column(2, 4), &[17])], ..Manners::default() };
    let wanted = [all([2], 6), all([3], 4)].concat();
    let done = read_from(&mib, &manners, &wanted, &Limits::default());
    assert!(done.gave_up.is_none());
    let rest: Vec<Wanted> = wanted.into_iter().filter(|one| one.base() != &*column(2, 4)).collect();
    check(&done, &mib, &rest);
    assert_eq!(done.tables.extent(&column(2, 4)), Some(Extent::Partial));
    assert_eq!(done.tables.rows(&column(2, 4)).count(), 16);
    assert!(done.questions <= 40, "{} questions", done.questions);
}

#[test]
fn a_value_that_can_not_be_decoded_is_stepped_over_by_its_neighbours_rows() {
    let mib = tables(&[(2, 6, 40)]);
    let broken = vec![instance(&column(2, 4), &[17])];
    let manners = Manners { broken, ..Manners::default() };
    let wanted = all([2], 6);
    let done = read_from(&mib, &manners, &wanted, &Limits::default());
    assert_eq!(done.tables.rows(&column(2, 4)).count(), 39);
    assert_eq!(done.tables.extent(&column(2, 4)), Some(Extent::Partial));
    check(&done, &mib, &[&wanted[..3], &wanted[4..]].concat());
}

#[test]
fn a_column_that_can_not_be_decoded_at_all_is_left_out() {
    let mib = tables(&[(2, 6, 40), (3, 1, 40)]);
    let broken = (1..=40)
        .flat_map(|row| [instance(&column(2, 4), &[row]), instance(&column(3, 1), &[row])])
        .collect();
    let manners = Manners { broken, ..Manners::default() };
    let wanted = [all([2], 6), all([3], 1)].concat();
    let done = read_from(&mib, &manners, &wanted, &Limits::default());
    for one in &wanted {
        let is_broken = [column(2, 4), column(3, 1)].iter().any(|base| one.base() == &**base);
        let rows = done.tables.rows(one.base()).count();
        assert_eq!(rows, if is_broken { 0 } else { 40 }, "{one:?}");
        // Of the column in front of a broken one, the end is not seen.
        let is_behind_whole = [1, 2, 5].iter().any(|of| one.base() == &*column(2, *of));
        let extent = if is_behind_whole { Extent::Whole } else { Extent::Partial };
        assert_eq!(done.tables.extent(one.base()), Some(extent), "{one:?}");
    }
    assert!(done.questions <= 60, "{} questions", done.questions);
}

/// One question answered by a script.
fn scripted(
    wanted: &[Wanted],
    mut script: impl FnMut(&[Vec<u32>], u16) -> Result<Vec<(Option<Arcs>, Content)>, Fault>,
) -> (Tables, usize, Option<Fault>) {
    let mut cursors = Cursors::new(wanted, &Limits::default());
    let mut pace = Pace::new(0);
    let mut questions = 0;
    while let Some(question) = cursors.question(&pace, true) {
        questions += 1;
        let names: Vec<Vec<u32>> =
            question.cursors().iter().map(|at| cursors.position(*at).to_vec()).collect();
        let repetitions = match &question {
            Question::Next(_) => 1,
            Question::Bulk { repetitions, .. } => *repetitions,
        };
        match script(&names, repetitions) {
            Ok(varbinds) => {
                let _received = cursors.answered(&question, varbinds.into_iter(), &mut pace);
            }
            Err(fault) => {
                if cursors.failed(&question, &fault, &mut pace) == Verdict::GiveUp {
                    return (cursors.finish(), questions, Some(fault));
                }
            }
        }
    }
    (cursors.finish(), questions, None)
}

fn row(base: &[u32], index: u32) -> (Option<Arcs>, Content) {
    (Some(instance(base, &[index])), Content::Value(Some(Value::Integer(i64::from(index)))))
}

#[test]
fn names_that_do_not_increase_end_their_column_as_partial() {
    let base = column(2, 1);
    let (tables, questions, _) = scripted(&[Wanted::Column(base.clone())], |names, _| {
        // 5, then 9, then 7 for ever.
        Ok(vec![match &names[0][base.len()..] {
            [] => row(&base, 5),
            [5] => row(&base, 9),
            _ => row(&base, 7),
        }])
    });
    let read: Vec<u32> = tables.rows(&base).map(|(index, _)| index[0]).collect();
    assert_eq!(read, [5, 9]);
    assert_eq!(tables.extent(&base), Some(Extent::Partial));
    assert_eq!(questions, 3);
}

#[test]
fn the_same_name_for_ever_ends_its_column() {
    let base = column(2, 1);
    let (tables, questions, _) = scripted(&[Wanted::Column(base.clone())], |_, repetitions| {
        Ok(vec![row(&base, 1); usize::from(repetitions)])
    });
    assert_eq!(tables.rows(&base).count(), 1);
    assert_eq!(tables.extent(&base), Some(Extent::Partial));
    assert_eq!(questions, 2);
}

#[test]
fn an_end_of_the_view_is_believed_of_the_asking_table_alone() {
    let (first, second) = (column(2, 1), column(3, 1));
    let wanted: Vec<Wanted> = all(1..=40, 1);
    let (tables, ..) = scripted(&wanted, |names, _| {
        Ok(names
            .iter()
            .map(|name| match &name[..] {
                name if name == &*second => row(&second, 1),
                name => (Some(name.into()), Content::End),
            })
            .collect())
    });
    assert_eq!(tables.extent(&first), Some(Extent::Whole));
    assert_eq!(tables.rows(&second).count(), 1);
}

#[test]
fn too_big_for_ever_and_empty_replies_for_ever_come_to_an_end() {
    let wanted = all(1..=100, 5);
    let (tables, questions, fault) =
        scripted(&wanted, |_, _| Err(Fault::Status { status: TOO_BIG, index: 0 }));
    assert!(questions <= 50, "{questions} questions");
    assert!(matches!(fault, Some(Fault::Status { status: TOO_BIG, .. })));
    assert_eq!(tables.extent(&column(1, 1)), Some(Extent::Partial));

    let (tables, questions, _) = scripted(&wanted, |_, _| Ok(Vec::new()));
    assert!(questions <= 80, "{questions} questions");
    assert_eq!(tables.extent(&column(1, 1)), Some(Extent::Partial));
}

#[test]
fn too_big_halves_the_request_until_it_fits() {
    let mib = tables(&[(2, 10, 20)]);
    let wanted = all([2], 10);
    let manners = Manners::default();
    let mut sizes = Vec::new();
    let (tables, ..) = scripted(&wanted, |names, repetitions| {
        let size = names.len() * usize::from(repetitions);
        sizes.push(size);
        if size > 7 {
            return Err(Fault::Status { status: TOO_BIG, index: 0 });
        }
        answer(&mib, &manners, names.to_vec(), repetitions)
    });
    for one in &wanted {
        assert_eq!(tables.rows(one.base()).count(), 20);
        assert_eq!(tables.extent(one.base()), Some(Extent::Whole));
    }
    let failed = sizes.iter().filter(|size| **size > 7).count();
    assert!(failed <= 8, "{sizes:?}");
}

#[test]
fn a_blamed_column_is_left_out_and_no_other() {
    let mib = tables(&[(2, 10, 20)]);
    let wanted = all([2], 10);
    let bad = column(2, 4);
    let (tables, _, fault) = scripted(&wanted, |names, repetitions| {
        let blamed = names.iter().position(|name| name.starts_with(&bad));
        match blamed {
            Some(at) => Err(Fault::Status { status: 5, index: u32::try_from(at).unwrap() + 1 }),
            None => answer(&mib, &Manners::default(), names.to_vec(), repetitions),
        }
    });
    assert!(fault.is_none());
    for one in &wanted {
        let bad = one.base() == &*bad;
        assert_eq!(tables.rows(one.base()).count(), if bad { 0 } else { 20 });
        let extent = if bad { Extent::Partial } else { Extent::Whole };
        assert_eq!(tables.extent(one.base()), Some(extent));
    }
}

#[test]
fn an_endless_table_is_cut_and_its_neighbours_are_whole() {
    let mib = tables(&[(3, 4, 30)]);
    let endless = column(2, 1);
    let wanted = [vec![Wanted::Column(endless.clone())], all([3], 4)].concat();
    let mut cursors = Cursors::new(&wanted, &Limits { values: 5_000, ..Limits::default() });
    let mut pace = Pace::new(0);
    while let Some(question) = cursors.question(&pace, true) {
        let Question::Bulk { cursors: asked, repetitions } = &question else { panic!("a step") };
        let mut names: Vec<Vec<u32>> =
            asked.iter().map(|at| cursors.position(*at).to_vec()).collect();
        let mut list = Vec::new();
        for _ in 0..*repetitions {
            for name in &mut names {
                let next = match name.strip_prefix(&*endless) {
                    Some(index) => {
                        let index = index.first().map_or(1, |index| index + 1);
                        (
                            Some(instance(&endless, &[index])),
                            Content::Value(Some(Value::Integer(1))),
                        )
                    }
                    None => {
                        answer(&mib, &Manners::default(), vec![name.clone()], 1).unwrap().remove(0)
                    }
                };
                *name = next.0.as_ref().unwrap().to_vec();
                list.push(next);
            }
        }
        cursors.answered(&question, list.into_iter(), &mut pace);
    }
    assert!(cursors.is_capped());
    let tables = cursors.finish();
    assert_eq!(tables.extent(&endless), Some(Extent::Partial));
    assert!(tables.rows(&endless).count() > 4_000);
    for number in 1..=4 {
        assert_eq!(tables.rows(&column(3, number)).count(), 30);
        assert_eq!(tables.extent(&column(3, number)), Some(Extent::Whole));
    }
}

#[test]
fn bytes_are_limited_too() {
    let mut mib = Mib::new();
    for row in 1..=1_000 {
        let value = Value::Bytes(vec![b'x'; 1_000].into());
        mib.insert(instance(&column(2, 1), &[row]), value);
    }
    let limits = Limits { bytes: 100_000, ..Limits::default() };
    let done = read_from(&mib, &Manners::default(), &all([2], 1), &limits);
    assert!(done.is_capped);
    assert!((90..=170).contains(&done.tables.rows(&column(2, 1)).count()));
}

#[test]
fn what_can_not_be_asked_for_stays_unknown() {
    let wanted = [Wanted::Column([1].into()), Wanted::Column([9, 9, 9].into())];
    let mut cursors = Cursors::new(&wanted, &Limits::default());
    assert_eq!(cursors.question(&Pace::new(0), true), None);
    assert_eq!(cursors.finish().extent(&[9, 9, 9]), Some(Extent::Partial));
}

#[test]
fn a_name_that_ends_in_zero_is_a_scalars() {
    assert_eq!(Wanted::from(&[1, 3, 0][..]), Wanted::Scalar([1, 3].into()));
    assert_eq!(Wanted::from(&[1, 3, 6][..]), Wanted::Column([1, 3, 6].into()));
}

prop_compose! {
    /// Instances of any shape in a few tables: gaps, ragged columns, indices of several arcs.
    fn any_mib()(
        names in prop::collection::btree_set(
            (1_u32..8, 1_u32..6, prop::collection::vec(0_u32..200, 1..4)),
            0..400,
        ),
        large in 0_usize..400,
    ) -> Mib {
        let mut mib: Mib = names
            .into_iter()
            .map(|(table, number, index)| instance(&column(table, number), &index))
            .zip((1..).map(Value::Integer))
            .collect();
        // No instance lies below another one's name.
        let inner: Vec<Arcs> = mib
            .keys()
            .zip(mib.keys().skip(1))
            .filter(|(name, next)| next.starts_with(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in inner {
            mib.remove(&name);
        }
        if let Some(value) = mib.values_mut().nth(large) {
            *value = Value::Bytes(vec![b'x'; 2_000].into());
        }
        mib
    }
}

proptest! {
    #[test]
    fn every_value_arrives_exactly_once_whatever_the_device_leaves_out(
        mib in any_mib(),
        most in 1_usize..80,
        bytes in prop_oneof![Just(usize::MAX), 2_000_usize..6_000],
        bulk in any::<bool>(),
        wanted in prop::collection::vec((1_u32..9, 1_u32..7), 1..40),
    ) {
        let wanted: Vec<Wanted> =
            wanted.into_iter().map(|(table, number)| Wanted::Column(column(table, number))).collect();
        let manners = Manners { most, bytes, bulk, ..Manners::default() };
        let done = read_all(&mib, &manners, &wanted);
        let columns = wanted.len();
        if bulk && bytes == usize::MAX {
            // Each request brings what the device gives at once, or settles a column.
            let most = most.min(20);
            prop_assert!(
                done.questions <= done.received.div_ceil(most.min(columns)) + 2 * columns + 4
            );
        }
        prop_assert!(done.received <= mib.len() + 40 * columns);
    }

    #[test]
    fn bad_values_and_deadly_ones_never_hold_a_reading_up(
        mib in any_mib(),
        broken in prop::collection::vec(0_usize..400, 0..10),
        deadly in prop::collection::vec(0_usize..400, 0..3),
        most in 1_usize..80,
    ) {
        let pick = |at: Vec<usize>| {
            at.into_iter().filter_map(|at| mib.keys().nth(at).cloned()).collect::<Vec<_>>()
        };
        let manners = Manners { most, broken: pick(broken), deadly: pick(deadly), ..Manners::default() };
        let wanted = all(1..=7, 5);
        let done = read_from(&mib, &manners, &wanted, &Limits::default());
        prop_assert!(done.questions <= 2 * mib.len() + 200, "{} questions", done.questions);
        for one in &wanted {
            for (index, value) in done.tables.rows(one.base()) {
                prop_assert_eq!(mib.get(&instance(one.base(), index)), Some(value));
            }
            if done.tables.extent(one.base()) == Some(Extent::Whole) {
                let there = mib.keys().filter(|name| name.starts_with(one.base())).count();
                prop_assert_eq!(done.tables.rows(one.base()).count(), there);
            }
        }
    }

    #[test]
    fn no_reply_breaks_the_reading(
        replies in prop::collection::vec(
            prop::collection::vec((prop::option::of((1_u32..4, 1_u32..4, 0_u32..9)), 0_u8..4), 0..30),
            0..40,
        ),
    ) {
        let mut replies = replies.into_iter();
        let (_, questions, _) = scripted(&all(1..=3, 3), |_, _| {
            let Some(reply) = replies.next() else { return Err(Fault::Timeout) };
            Ok(reply
                .into_iter()
                .map(|(name, content)| {
                    let name = name.map(|(t, c, row)| instance(&column(t, c), &[row]));
                    let content = match content {
                        0 => Content::End,
                        1 => Content::Absent,
                        2 => Content::Value(None),
                        _ => Content::Value(Some(Value::Integer(1))),
                    };
                    (name, content)
                })
                .collect())
        });
        prop_assert!(questions <= 60);
    }
}
