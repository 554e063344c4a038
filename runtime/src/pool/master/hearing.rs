//! What the pool's process does about what workers write and log.

use super::core::Core;
use crate::ErrorKind;
use crate::pool::job::errand::Errand;
use crate::seeing::output::{OutputMode, Store};
use crate::task::TaskError;

/// So much is kept of each stream of a task where nothing else is said.
const LIMIT: usize = 1 << 20;

impl Core {
    /// Sees to what is to become of the output of an errand's tasks.
    pub(in crate::pool) fn hear(&self, errand: &Errand) -> Result<(), TaskError> {
        let mode = errand.policy.output;
        if mode == OutputMode::Inherit {
            return Ok(());
        }
        let Some((_, sources)) = &self.outputs else {
            let (context, kind) = (errand.context(None), ErrorKind::InvalidInput);
            let reason = format!(
                "its output is to be {mode:?}, but the pool's workers write straight to this process's streams: build the \
                 pool with `Pool::builder().output(..)`"
            );
            return Err(TaskError::NotSendable { context, reason, kind });
        };
        let limit = self.options.limits.output_limit.unwrap_or(LIMIT);
        let store = Store::new(mode, errand.name.clone(), limit, errand.policy.hear.clone(), sources);
        _ = errand.output.set(store);
        Ok(())
    }

    /// Waits until what tasks have written and logged so far was handed on, as far as it is to be at once.
    pub(in crate::pool) fn hand_on_records(&self) {
        self.outputs.iter().for_each(|(_, sources)| sources.pass_on());
        self.estate.records.iter().for_each(|records| records.sync());
    }
}
