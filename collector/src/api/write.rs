//! Handlers that change something. Each change is one line in the log.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use domain::{contractor::Contractor, id::AgentId, target::TargetSpec, topology::DeviceId};
use http::StatusCode;
use lettre::Address;
use serde::{Deserialize, Serialize};
use store::MeshSite;

use super::{
    Context,
    ask::{Ask, Body, CsvBody},
    problem::{Fault, Problem},
    target::{RawTarget, wrong_host_port},
};
use crate::{
    import::{self, RawSite},
    query::{self, Time, sites::SiteFactsLine, targets::TargetLine},
    wire,
    wrong::{Code, Wrong},
};

type Answer = Result<Response, Problem>;

/// Longest mail address, bytes (RFC 5321, 4.5.3.1.3, without its brackets).
const MAX_EMAIL_BYTES: usize = 254;

/// A site as an operator gives it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSite {
    uai: String,
    name: String,
    r#type: String,
    zone: String,
    pupils: Option<u32>,
    lot: Option<String>,
    address: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

pub(super) async fn add_site(
    State(context): State<Context>,
    ask: Ask,
    Body(site): Body<NewSite>,
) -> Answer {
    ask.finish()?;
    let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
    let pupils = site.pupils.map(|pupils| pupils.to_string()).unwrap_or_default();
    let (latitude, longitude) = (number(site.latitude), number(site.longitude));
    let raw = RawSite {
        cells: [
            &site.uai,
            &site.name,
            &site.r#type,
            &site.zone,
            &pupils,
            site.lot.as_deref().unwrap_or_default(),
            site.address.as_deref().unwrap_or_default(),
            &latitude,
            &longitude,
        ],
    };
    let facts = import::check(&raw).map_err(|faults| {
        let fault = |(column, reason): &(_, _)| Fault::of(reason, Some(*column));
        Problem::Invalid(faults.iter().map(fault).collect())
    })?;
    let site = context.store.add_site(facts).await?;
    tracing::info!(site = %site.facts.uai, "site added");
    Ok((StatusCode::CREATED, Json(SiteFactsLine::from(&site))).into_response())
}

#[derive(Serialize)]
struct Imported {
    at: Time,
    dry_run: bool,
    sites: usize,
    added: u64,
    updated: u64,
    unchanged: u64,
}

pub(super) async fn import(
    State(context): State<Context>,
    mut ask: Ask,
    CsvBody(bytes): CsvBody,
) -> Answer {
    let dry_run = ask.flag("dry_run")?;
    ask.finish()?;
    // A file of 10 MiB takes long enough to hold up other requests.
    let parsed = tokio::task::spawn_blocking(move || import::parse(&bytes)).await;
    let sites = parsed
        .map_err(|error| Problem::Internal(error.into()))?
        .map_err(|faults| Problem::Invalid(faults.into_iter().map(Fault::from).collect()))?;
    let count = sites.len();
    let report = context.store.import_sites(sites, dry_run).await?;
    if !dry_run {
        context.actions.sites_changed().await?;
        tracing::info!(added = report.added, updated = report.updated, "sites imported");
    }
    Ok(Json(Imported {
        at: Time(context.clock.now()),
        dry_run,
        sites: count,
        added: report.added,
        updated: report.updated,
        unchanged: report.unchanged,
    })
    .into_response())
}

#[derive(Serialize)]
struct Enrolment {
    at: Time,
    uai: String,
    token: String,
    expires_at: Time,
    collector: String,
    command: String,
}

pub(super) async fn new_token(
    State(context): State<Context>,
    Path(uai): Path<String>,
    ask: Ask,
) -> Answer {
    ask.finish()?;
    let site = query::site(context.store.as_ref(), &uai).await?;
    let issued = context.actions.new_token(&site).await?;
    tracing::info!(site = %site.facts.uai, "enrolment token issued");
    let collector = context.public_address.to_string();
    let command = format!("vigie-agent enrol --collector {collector} --token {}", issued.token);
    let enrolment = Enrolment {
        at: Time(context.clock.now()),
        uai: site.facts.uai.to_string(),
        token: issued.token,
        expires_at: Time(issued.expires_at),
        collector,
        command,
    };
    Ok((StatusCode::CREATED, Json(enrolment)).into_response())
}

pub(super) async fn add_target(
    State(context): State<Context>,
    Path(uai): Path<String>,
    ask: Ask,
    Body(raw): Body<RawTarget>,
) -> Answer {
    ask.finish()?;
    let site = query::site(context.store.as_ref(), &uai).await?;
    let spec = raw.check(site.id).map_err(Problem::Invalid)?;
    if let Some(parent) = spec.parent {
        let known = context.store.targets(Some(site.id)).await?;
        if !known.iter().any(|target| target.id == parent && target.active) {
            let wrong = Wrong::new(Code::Parent, "no target of this site has this id");
            return Err(Problem::Invalid(vec![Fault::at("parent", wrong)]));
        }
    }
    let target = context.actions.add_target(spec).await?;
    tracing::info!(site = %site.facts.uai, target = %target.id, "target added");
    let line = TargetLine::registered(&site, &target, context.clock.now());
    Ok((StatusCode::CREATED, Json(line)).into_response())
}

#[derive(Serialize)]
struct Removed {
    at: Time,
    id: i64,
    uai: String,
    name: String,
    address: String,
    status: &'static str,
}

pub(super) async fn remove_target(
    State(context): State<Context>,
    Path((uai, id)): Path<(String, String)>,
    ask: Ask,
) -> Answer {
    ask.finish()?;
    let site = query::site(context.store.as_ref(), &uai).await?;
    let known = context.store.targets(Some(site.id)).await?;
    let target = known
        .into_iter()
        .find(|target| target.active && Ok(target.id.0) == id.parse())
        .ok_or_else(|| Problem::NotFound(format!("target {}", wire::text(&id))))?;
    context.actions.remove_target(&target).await?;
    tracing::info!(site = %site.facts.uai, target = %target.id, "target removed");
    let TargetSpec { name, address, .. } = target.spec;
    let uai = site.facts.uai.to_string();
    let at = Time(context.clock.now());
    let removed = Removed { at, id: target.id.0, uai, name, address, status: "withdrawn" };
    Ok(Json(removed).into_response())
}

/// How a site takes part in the measures between sites.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMeshSite {
    address: Option<String>,
    hub: Option<bool>,
}

#[derive(Serialize)]
struct MeshSiteSet {
    at: Time,
    uai: String,
    name: String,
    address: Option<String>,
    hub: bool,
}

pub(super) async fn set_mesh_site(
    State(context): State<Context>,
    Path(uai): Path<String>,
    ask: Ask,
    Body(raw): Body<NewMeshSite>,
) -> Answer {
    ask.finish()?;
    let site = query::site(context.store.as_ref(), &uai).await?;
    let (address, hub) = (raw.address.map(|text| text.trim().to_owned()), raw.hub == Some(true));
    let mut faults = Vec::new();
    if let Some((code, reason)) = address.as_deref().and_then(wrong_host_port) {
        faults.push(Fault::at("address", Wrong::new(code, reason)));
    }
    if hub && address.is_none() {
        let reason = "a hub needs an address, at which every site asks it";
        faults.push(Fault::at("hub", Wrong::new(Code::HostPort, reason)));
    }
    if !faults.is_empty() {
        return Err(Problem::Invalid(faults));
    }
    let taking_part = MeshSite { site: site.id, address: address.clone(), hub };
    context.actions.set_mesh_site(taking_part).await?;
    tracing::info!(site = %site.facts.uai, address, hub, "site in the mesh");
    let uai = site.facts.uai.to_string();
    let (at, name) = (Time(context.clock.now()), site.facts.name);
    Ok(Json(MeshSiteSet { at, uai, name, address, hub }).into_response())
}

#[derive(Serialize)]
struct MeshSiteRemoved {
    at: Time,
    uai: String,
    name: String,
    status: &'static str,
}

pub(super) async fn remove_mesh_site(
    State(context): State<Context>,
    Path(uai): Path<String>,
    ask: Ask,
) -> Answer {
    ask.finish()?;
    let site = query::site(context.store.as_ref(), &uai).await?;
    if !context.actions.remove_mesh_site(site.id).await? {
        return Err(Problem::NotFound(format!("site {} in the mesh", site.facts.uai)));
    }
    tracing::info!(site = %site.facts.uai, "site out of the mesh");
    let (at, uai) = (Time(context.clock.now()), site.facts.uai.to_string());
    let status = "withdrawn";
    Ok(Json(MeshSiteRemoved { at, uai, name: site.facts.name, status }).into_response())
}

#[derive(Serialize)]
struct Confirmed {
    at: Time,
    uai: String,
    no: i64,
    status: &'static str,
}

pub(super) async fn confirm_device(
    State(context): State<Context>,
    Path((uai, no)): Path<(String, String)>,
    ask: Ask,
) -> Answer {
    ask.finish()?;
    let site = query::site(context.store.as_ref(), &uai).await?;
    let none = || Problem::NotFound(format!("device {}", wire::text(&no)));
    let device = DeviceId(no.parse().map_err(|_| none())?);
    let now = context.clock.now();
    context.store.confirm_device(site.id, device, now).await?;
    tracing::info!(site = %site.facts.uai, device = device.0, "device confirmed");
    let uai = site.facts.uai.to_string();
    Ok(Json(Confirmed { at: Time(now), uai, no: device.0, status: "confirmed" }).into_response())
}

/// A contractor as an operator gives it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewContractor {
    lot: String,
    name: String,
    email: String,
}

pub(super) async fn set_contractor(
    State(context): State<Context>,
    ask: Ask,
    Body(raw): Body<NewContractor>,
) -> Answer {
    ask.finish()?;
    let mut faults = Vec::new();
    let mut text = |member: &'static str, text: &str| {
        let text = text.trim();
        let fault = if text.is_empty() {
            Some(import::Reason::EmptyCell)
        } else if text.chars().any(char::is_control) {
            Some(import::Reason::Control)
        } else if text.chars().count() > import::MAX_NAME_CHARS {
            Some(import::Reason::TextTooLong(import::MAX_NAME_CHARS))
        } else {
            None
        };
        faults.extend(fault.map(|reason| Fault::of(&reason, Some(member))));
        text.to_owned()
    };
    let contractor = Contractor {
        lot: text("lot", &raw.lot),
        name: text("name", &raw.name),
        email: raw.email.trim().to_owned(),
    };
    // Printable ASCII only: a mailbox that looks like another is nobody's role mailbox.
    let plain = contractor.email.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = contractor.email.len() <= MAX_EMAIL_BYTES;
    if !(plain && fits && contractor.email.parse::<Address>().is_ok()) {
        let reason = "expected one mail address, such as a@example.fr";
        faults.push(Fault::at("email", Wrong::new(Code::Email, reason)));
    }
    if !faults.is_empty() {
        return Err(Problem::Invalid(faults));
    }
    context.store.set_contractor(contractor.clone()).await?;
    tracing::info!(lot = contractor.lot, "contractor set");
    let Contractor { lot, name, email } = contractor;
    Ok(Json(NewContractor { lot, name, email }).into_response())
}

#[derive(Serialize)]
struct Revoked {
    at: Time,
    id: String,
    status: &'static str,
}

pub(super) async fn revoke_agent(
    State(context): State<Context>,
    Path(id): Path<String>,
    ask: Ask,
) -> Answer {
    ask.finish()?;
    let agent: AgentId = id.parse().map_err(|error: domain::id::BadAgentId| {
        Problem::bad("id", Wrong::new(Code::AgentId, error.to_string()))
    })?;
    if context.store.agent(agent).await?.is_none() {
        return Err(Problem::NotFound(format!("agent {agent}")));
    }
    context.actions.revoke_agent(agent).await?;
    tracing::info!(agent = %agent, "agent revoked");
    let at = Time(context.clock.now());
    Ok(Json(Revoked { at, id: agent.to_string(), status: "revoked" }).into_response())
}
