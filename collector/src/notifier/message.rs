//! The mail itself: plain text, complete by itself, one thread per incident.

use domain::{alert::evaluate::local, incident::IncidentKind, site::Site, target::Target};
use jiff::{Timestamp, tz::TimeZone};
use lettre::{
    Message,
    address::{Address, AddressError},
    message::{
        Mailbox,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use store::OutboxMail;

use crate::config::Smtp;

/// Longest subject, characters.
const SUBJECT_CHARS: usize = 200;
/// Longest line of text that comes from elsewhere, characters.
const LINE_CHARS: usize = 400;

/// Why a mail can not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ComposeError {
    /// An address is none.
    #[error("{address:?} is not a mail address")]
    Address { address: String, source: AddressError },
    /// The library refused a header.
    #[error("cannot build the message")]
    Build(#[from] lettre::error::Error),
}

/// Writes the mail of a transition.
pub(super) fn compose(
    smtp: &Smtp,
    mail: &OutboxMail,
    site: Option<&Site>,
    target: Option<&Target>,
) -> Result<Message, ComposeError> {
    let incident = &mail.incident;
    let address = |text: &str| {
        text.parse::<Address>()
            .map_err(|source| ComposeError::Address { address: clean(text, LINE_CHARS), source })
    };
    let from = smtp.from.clone();
    let to = address(&mail.recipient)?;
    let instance = smtp.helo.clone().unwrap_or_else(|| from.email.domain().to_owned());
    let id =
        |transition: &str| message_id(&incident.reference, transition, &mail.recipient, &instance);
    // Constant over the thread: clients group by subject too.
    let subject = clean(
        &format!(
            "[MCO] {} · {} · {}",
            incident.reference,
            site.map_or_else(String::new, |s| format!("{} {}", s.facts.uai, s.facts.name)),
            incident.title
        ),
        SUBJECT_CHARS,
    );
    let mut builder = Message::builder()
        .from(from)
        .to(Mailbox::new(None, to))
        .subject(subject)
        .message_id(Some(id(&mail.transition)))
        .date(std::time::UNIX_EPOCH + since_epoch(mail.created_at));
    if mail.transition != "open" {
        builder = builder.in_reply_to(id("open")).references(id("open"));
    }
    let uai = site.map_or_else(String::new, |site| site.facts.uai.to_string());
    let headers = [
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("X-Auto-Response-Suppress", "All".to_owned()),
        ("X-MCO-Ticket", clean(&incident.reference, 64)),
        ("X-MCO-UAI", uai),
    ];
    for (name, value) in headers {
        if !value.is_empty() {
            builder =
                builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
        }
    }
    Ok(builder
        .header(ContentType::TEXT_PLAIN)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(body(mail, site, target))?)
}

fn since_epoch(at: Timestamp) -> std::time::Duration {
    at.duration_since(Timestamp::UNIX_EPOCH).try_into().unwrap_or_default()
}

/// `<reference.transition.hash of the recipient@instance>`: the same for every attempt.
fn message_id(reference: &str, transition: &str, recipient: &str, instance: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, recipient.as_bytes());
    let mut hash = [0; 8];
    hash[2..].copy_from_slice(&digest.as_ref()[..6]);
    let hash = u64::from_be_bytes(hash);
    format!("<{}.{transition}.{hash:012x}@{instance}>", reference.to_ascii_lowercase())
}

fn body(mail: &OutboxMail, site: Option<&Site>, target: Option<&Target>) -> String {
    let incident = &mail.incident;
    let zone = site
        .and_then(|site| TimeZone::get(site.facts.zone.time_zone()).ok())
        .unwrap_or(TimeZone::UTC);
    let clock = |at: Timestamp| local(at, &zone);
    let mut lines = vec![
        match mail.transition.as_str() {
            "close" => "RÉTABLISSEMENT CONSTATÉ".to_owned(),
            _ => "OUVERTURE".to_owned(),
        },
        String::new(),
        format!("Constat       {}", incident.title),
        format!("Référence     {}", incident.reference),
    ];
    if let Some(site) = site {
        let facts = &site.facts;
        lines.push(format!("Établissement {} — UAI {}", facts.name, facts.uai));
        let rest = [
            facts.address.clone(),
            facts.pupils.map(|pupils| format!("{pupils} élèves")),
            facts.lot.as_ref().map(|lot| format!("lot {lot}")),
        ];
        let rest: Vec<_> = rest.into_iter().flatten().collect();
        if !rest.is_empty() {
            lines.push(format!("              {}", rest.join(" — ")));
        }
    }
    if let Some(target) = target {
        lines.push(format!("Équipement    {} {}", target.spec.name, target.spec.address));
    }
    lines.push(format!("Début         {}", clock(incident.started_at)));
    lines.push(format!("Détecté       {}", clock(incident.opened_at)));
    if mail.transition == "close" {
        if let Some(restored) = incident.restored_at {
            let minutes = restored.duration_since(incident.started_at).as_secs().max(0) / 60;
            let seconds = restored.duration_since(incident.started_at).as_secs().max(0) % 60;
            lines.push(format!("Rétabli       {}", clock(restored)));
            lines.push(format!("Durée         {minutes} min {seconds:02} s"));
        }
    } else if incident.kind == IncidentKind::AgentSilent {
        lines.push(
            "État          inconnu : silence de l'agent, aucune panne n'est prouvée".to_owned(),
        );
    } else {
        lines.push("État          toujours en cours à l'envoi de ce message".to_owned());
    }
    lines.push(format!("Heures        {}", zone.iana_name().unwrap_or("UTC")));
    lines.push(String::new());
    lines.push("Preuves".to_owned());
    lines.extend(incident.evidence.iter().map(|line| format!("  - {line}")));
    lines.push(String::new());
    lines.push(match mail.transition.as_str() {
        "close" => {
            "Le rétablissement est mesuré par la supervision. Aucune réponse n'est attendue."
                .to_owned()
        }
        _ => {
            "Un second message, dans le même fil, dira quand la mesure constate le rétablissement."
                .to_owned()
        }
    });
    lines.push(
        "Vous recevez ce message comme mainteneur du lot de cet établissement. Message automatique."
            .to_owned(),
    );
    let mut text: String = lines.iter().map(|line| clean(line, LINE_CHARS) + "\n").collect();
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// One line of printable text: whatever a device or a file put in, no control character, no
/// direction change and no invisible character leaves.
fn clean(text: &str, limit: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !is_invisible(*c))
        .take(limit)
        .collect()
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests;
