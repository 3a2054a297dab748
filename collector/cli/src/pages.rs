//! A list that is longer than one answer: its pages, asked for one after the other, as one answer.

use serde_json::Value;

use crate::{
    client::{Answer, Client, Request},
    command::Output,
    document,
    failure::Failure,
};

/// Rows of one page: all that one answer of the collector can have.
pub(crate) const PAGE_ROWS: usize = 10_000;
/// Rows put together at most; what is left out is told as for any limit.
const MAX_ROWS: usize = 1_000_000;

/// Asks, as often as the rows of a list take.
pub(crate) async fn ask(
    client: &Client,
    request: &Request,
    output: Output,
) -> Result<Answer, Failure> {
    let Some(rows) = request.rows.filter(|rows| *rows > PAGE_ROWS) else {
        return client.ask(request, output).await;
    };
    let mut left = rows.min(MAX_ROWS);
    let mut pages = vec![client.ask(&page(request, left, None), output).await?];
    while let Some(next) = next(pages.last(), output)? {
        left = left.saturating_sub(PAGE_ROWS);
        if left == 0 {
            break;
        }
        pages.push(client.ask(&page(request, left, Some(next)), output).await?);
    }
    join(pages, output)
}

/// The question for the next page.
fn page(request: &Request, left: usize, after: Option<String>) -> Request {
    let mut page = request.clone();
    page.query.retain(|(key, _)| *key != "limit");
    page.query.push(("limit", left.min(PAGE_ROWS).to_string()));
    page.query.extend(after.map(|after| ("after", after)));
    page
}

fn next(answer: Option<&Answer>, output: Output) -> Result<Option<String>, Failure> {
    match (answer, output) {
        (None, _) => Ok(None),
        (Some(answer), Output::Csv) => Ok(answer.next.clone()),
        (Some(answer), Output::Json | Output::Table) => {
            Ok(document::read::<document::Next>(&answer.body)?.next)
        }
    }
}

/// Puts pages behind each other. The time and the coverage are those of the first: nothing of the
/// whole is older. The key of what follows is that of the last.
fn join(pages: Vec<Answer>, output: Output) -> Result<Answer, Failure> {
    let senseless = || Failure::Senseless("a list without items".into());
    let mut pages = pages.into_iter();
    let mut whole = pages.next().ok_or_else(senseless)?;
    if pages.len() == 0 {
        return Ok(whole);
    }
    match output {
        Output::Csv => {
            for page in pages {
                // Each page has the line of names, which are words of ours without line breaks.
                whole.body.push_str(page.body.split_once('\n').map_or("", |(_, rows)| rows));
                whole.next = page.next;
            }
        }
        Output::Json | Output::Table => {
            let mut document: Value = document::read(&whole.body)?;
            for page in pages {
                let mut page: Value = document::read(&page.body)?;
                let rows = page["items"].as_array_mut().ok_or_else(senseless)?;
                document["items"].as_array_mut().ok_or_else(senseless)?.append(rows);
                document["next"] = page["next"].take();
            }
            whole.body = document.to_string();
        }
    }
    Ok(whole)
}
