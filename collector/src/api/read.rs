//! Handlers that only read.

use axum::{
    extract::{Path, State},
    response::Response,
};
use domain::health::Health;

use super::{Context, ask::Ask, csv::render, problem::Problem};
use crate::{
    query::{
        self, mesh::MeshQuestion, ranking::RankingQuestion, samples::SamplesQuestion,
        series::SeriesFilter, sites::SiteFilter,
    },
    wrong::Wrong,
};

type Answer = Result<Response, Problem>;

pub(super) async fn status(State(context): State<Context>, ask: Ask) -> Answer {
    let format = ask.finish()?;
    render(&query::status::status(context.sources()).await?, format)
}

pub(super) async fn sites(State(context): State<Context>, mut ask: Ask) -> Answer {
    let page = ask.page()?;
    let states = [Health::Up, Health::Degraded, Health::Down, Health::Unknown];
    let none = || Wrong::none_of(&states.map(Health::code));
    let state =
        ask.read("state", none, |text| states.into_iter().find(|state| state.code() == text))?;
    let filter = SiteFilter { state, lot: ask.text("lot") };
    let format = ask.finish()?;
    render(&query::sites::sites(context.sources(), &filter, &page).await?, format)
}

pub(super) async fn site(
    State(context): State<Context>,
    Path(uai): Path<String>,
    ask: Ask,
) -> Answer {
    let format = ask.finish()?;
    render(&query::sites::site(context.sources(), &uai).await?, format)
}

pub(super) async fn devices(
    State(context): State<Context>,
    Path(uai): Path<String>,
    ask: Ask,
) -> Answer {
    let format = ask.finish()?;
    render(&query::devices::devices(context.sources(), &uai).await?, format)
}

pub(super) async fn topology(
    State(context): State<Context>,
    Path(uai): Path<String>,
    ask: Ask,
) -> Answer {
    let format = ask.finish()?;
    render(&query::devices::topology(context.sources(), &uai).await?, format)
}

pub(super) async fn targets(
    State(context): State<Context>,
    Path(uai): Path<String>,
    mut ask: Ask,
) -> Answer {
    let page = ask.page()?;
    let format = ask.finish()?;
    render(&query::targets::targets(context.sources(), &uai, &page).await?, format)
}

fn series_filter(ask: &mut Ask) -> Result<SeriesFilter, Problem> {
    Ok(SeriesFilter {
        uai: ask.text("uai"),
        metric: ask.text("metric"),
        target: ask.number("target")?,
        label: ask.text("label"),
    })
}

pub(super) async fn series(State(context): State<Context>, mut ask: Ask) -> Answer {
    let (filter, page) = (series_filter(&mut ask)?, ask.page()?);
    let format = ask.finish()?;
    render(&query::series::series(context.sources(), &filter, &page).await?, format)
}

pub(super) async fn samples(
    State(context): State<Context>,
    Path(id): Path<String>,
    mut ask: Ask,
) -> Answer {
    let id = id.parse().map_err(|_| Problem::NotFound("series of this id".to_owned()))?;
    let question = SamplesQuestion {
        from: ask.text("from"),
        to: ask.text("to"),
        step: ask.text("step"),
        aggregate: ask.text("aggregate"),
    };
    let format = ask.finish()?;
    render(&query::samples::samples(context.sources(), id, &question).await?, format)
}

pub(super) async fn percentiles(State(context): State<Context>, mut ask: Ask) -> Answer {
    let question = RankingQuestion {
        filter: series_filter(&mut ask)?,
        p: ask.number("p")?,
        from: ask.text("from"),
        to: ask.text("to"),
        limit: ask.number("limit")?,
    };
    let format = ask.finish()?;
    render(&query::ranking::ranking(context.sources(), &question).await?, format)
}

pub(super) async fn mesh(State(context): State<Context>, mut ask: Ask) -> Answer {
    let question = MeshQuestion { window_s: ask.number("window_s")?, limit: ask.number("limit")? };
    let format = ask.finish()?;
    render(&query::mesh::mesh(context.sources(), &question).await?, format)
}

pub(super) async fn agents(State(context): State<Context>, mut ask: Ask) -> Answer {
    let (uai, page) = (ask.text("uai"), ask.page()?);
    let format = ask.finish()?;
    render(&query::agents::agents(context.sources(), uai.as_deref(), &page).await?, format)
}

pub(super) async fn incidents(State(context): State<Context>, mut ask: Ask) -> Answer {
    let (uai, open, page) = (ask.text("uai"), ask.flag("open")?, ask.page()?);
    let format = ask.finish()?;
    let answer = query::incidents::incidents(context.sources(), uai.as_deref(), open, &page);
    render(&answer.await?, format)
}

pub(super) async fn contractors(State(context): State<Context>, ask: Ask) -> Answer {
    let format = ask.finish()?;
    render(&query::contractors::contractors(context.sources()).await?, format)
}
