//! Tasks that run until the collector stops, by name, so that one that ends before is named.

use std::{collections::HashMap, future::Future};

use domain::chain::chain;
use tokio::task::{Id, JoinSet};

/// Tasks of one kind.
#[derive(Debug, Default)]
pub(super) struct Running {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Running {
    pub(super) fn start(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits for a task that ends, by a panic too. Never returns when none is left.
    pub(super) async fn ended(&mut self) -> &'static str {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                let id = error.id();
                tracing::error!(error = chain(&error), "a part broke off");
                id
            }
            None => std::future::pending().await,
        };
        self.names.remove(&id).unwrap_or("a part without name")
    }

    pub(super) async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Ends what still runs.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_or_panics_is_named() {
        let mut running = Running::default();
        running.start("the patient", pending());
        running.start("the clumsy", async { panic!("on purpose") });
        let soon = Duration::from_secs(10);
        assert_eq!(timeout(soon, running.ended()).await, Ok("the clumsy"));
        running.start("the hasty", async {});
        assert_eq!(timeout(soon, running.ended()).await, Ok("the hasty"));
        timeout(soon, running.shutdown()).await.unwrap();
    }
}
