//! "The centre is down" and "the site is down" told apart, by what many sites say of the same service.
//!
//! A site that does not reach the shared service centre says something of the centre only when the rest
//! of its way out works: one that reaches nothing has a fault of its own. One site alone can not tell
//! the centre from the way to it; when most of those that could reach it do not, it is the centre.

use crate::id::SiteId;

/// Sites that must miss the centre before it is called down: one may have a fault on its way.
pub const LEAST_MISSING: usize = 2;
/// Share of the telling sites that must miss it, per cent.
pub const MOST_MISSING_PERCENT: usize = 80;

/// Whether something answers a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Something of it did, lately.
    Yes,
    /// It was asked lately, and nothing of it did.
    No,
    /// It was not asked lately, or nobody is there to tell.
    Unknown,
}

impl Answer {
    /// Of several: one that answers is enough, and what is unknown says nothing.
    #[must_use]
    pub fn any(answers: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::Unknown;
        for answer in answers {
            match answer {
                Self::Yes => return Self::Yes,
                Self::No => all = Self::No,
                Self::Unknown => {}
            }
        }
        all
    }
}

/// What one site says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// Which.
    pub site: SiteId,
    /// Of the centre.
    pub centre: Answer,
    /// Of what else lies outside the school: the operator's routers, the collector, other references.
    pub others: Answer,
}

/// How the centre stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Centre {
    /// All that could reach it do.
    Up,
    /// Some do not, too few for the centre to be down: the ways to it differ.
    Partial,
    /// Those that could reach it do not.
    Down,
    /// Too little is known.
    Unknown,
}

impl Centre {
    /// The code used in the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Partial => "partial",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// Where the fault is, seen from one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It reaches the centre.
    None,
    /// It misses the centre, which is down.
    Centre,
    /// It misses the centre, which others reach: its way there.
    Path,
    /// It reaches nothing outside: its own line.
    Site,
    /// Not to be told.
    Unknown,
}

impl Fault {
    /// The code used in the API.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Centre => "centre",
            Self::Path => "path",
            Self::Site => "site",
            Self::Unknown => "unknown",
        }
    }
}

/// The verdict on one service of the centre, or on the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// How it stands.
    pub centre: Centre,
    /// Sites that reach it.
    pub reaching: usize,
    /// Sites that miss it while the rest of their way out works.
    pub missing: usize,
    /// Where the fault is for each site, in the order given.
    pub sites: Vec<(SiteId, Fault)>,
}

/// Judges by what the sites say.
#[must_use]
pub fn judge(witnesses: &[Witness]) -> Judgement {
    let count = |told: fn(&Witness) -> bool| witnesses.iter().filter(|one| told(one)).count();
    let reaching = count(|one| one.centre == Answer::Yes);
    let missing = count(|one| one.centre == Answer::No && one.others == Answer::Yes);
    let telling = reaching + missing;
    let most = missing * 100 >= telling * MOST_MISSING_PERCENT;
    let centre = if telling == 0 {
        Centre::Unknown
    } else if missing == 0 {
        Centre::Up
    } else if missing >= LEAST_MISSING && most {
        Centre::Down
    } else if reaching == 0 {
        // One site alone, whose way out works: the centre, or the way to it.
        Centre::Unknown
    } else {
        Centre::Partial
    };
    let fault = |one: &Witness| match (one.centre, one.others, centre) {
        (Answer::Yes, _, _) => Fault::None,
        (Answer::No, Answer::No, _) => Fault::Site,
        (Answer::No, Answer::Yes, Centre::Down) => Fault::Centre,
        (Answer::No, Answer::Yes, Centre::Partial) => Fault::Path,
        (Answer::No, Answer::Yes, Centre::Up | Centre::Unknown)
        | (Answer::No, Answer::Unknown, _)
        | (Answer::Unknown, _, _) => Fault::Unknown,
    };
    let sites = witnesses.iter().map(|one| (one.site, fault(one))).collect();
    Judgement { centre, reaching, missing, sites }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two letters a site: what it says of the centre and of the others, `y`es, `n`o or `?`.
    fn witnesses(text: &str) -> Vec<Witness> {
        let answer = |letter| match letter {
            Some('y') => Answer::Yes,
            Some('n') => Answer::No,
            _ => Answer::Unknown,
        };
        let one = |(site, word): (i64, &str)| {
            let mut letters = word.chars();
            let (centre, others) = (answer(letters.next()), answer(letters.next()));
            Witness { site: SiteId(site), centre, others }
        };
        (1..).zip(text.split_whitespace()).map(one).collect()
    }

    fn check(text: &str, centre: Centre, faults: &[Fault]) {
        let judgement = judge(&witnesses(text));
        let told: Vec<Fault> = judgement.sites.iter().map(|(_, fault)| *fault).collect();
        assert_eq!((judgement.centre, told.as_slice()), (centre, faults), "{text}");
    }

    #[test]
    fn a_centre_that_nobody_reaches_is_down_and_the_sites_are_not() {
        use Fault::{Centre as C, Site as S};
        check("ny ny ny", Centre::Down, &[C, C, C]);
        // A site whose own line is cut is another matter.
        check("ny ny nn", Centre::Down, &[C, C, S]);
    }

    #[test]
    fn a_site_that_misses_the_centre_alone_has_a_fault_on_its_way() {
        use Fault::{None as N, Path as P};
        check("ny yy yy", Centre::Partial, &[P, N, N]);
        check("ny ny yy yy", Centre::Partial, &[P, P, N, N]);
    }

    #[test]
    fn a_site_that_reaches_nothing_says_nothing_of_the_centre() {
        use Fault::{None as N, Site as S};
        check("nn yy", Centre::Up, &[S, N]);
        check("nn nn nn", Centre::Unknown, &[S, S, S]);
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        use Fault::{None as N, Unknown as U};
        check("", Centre::Unknown, &[]);
        check("?y ?n ??", Centre::Unknown, &[U, U, U]);
        check("n? yy", Centre::Up, &[U, N]);
        check("ny", Centre::Unknown, &[U]);
        check("y? y?", Centre::Up, &[N, N]);
    }

    #[test]
    fn four_of_five_that_miss_it_are_enough_and_three_are_not() {
        let of = |missing: usize| {
            let text = "ny ".repeat(missing) + &"yy ".repeat(5 - missing);
            judge(&witnesses(&text)).centre
        };
        assert_eq!([of(0), of(1), of(3), of(4), of(5)], {
            use Centre::{Down, Partial, Up};
            [Up, Partial, Partial, Down, Down]
        });
    }

    #[test]
    fn sites_without_a_word_to_say_change_no_verdict() {
        for text in ["ny ny yy", "ny ny ny ny yy", "yy", "ny", ""] {
            let before = judge(&witnesses(text)).centre;
            for more in ["??", "?y", "nn", "n?"] {
                let with = format!("{text} {}", format!("{more} ").repeat(9));
                assert_eq!(judge(&witnesses(&with)).centre, before, "{with}");
            }
        }
    }

    #[test]
    fn of_several_answers_one_is_enough_and_none_is_unknown() {
        use Answer::{No, Unknown, Yes};
        assert_eq!(Answer::any([]), Unknown);
        assert_eq!(Answer::any([Unknown, No, Unknown]), No);
        assert_eq!(Answer::any([No, Yes]), Yes);
    }
}
