//! What a journal keeps of an item of a flow: what it gave to the flow's end, and where something of it ended early.

use super::kept::{self, Kept};
use super::record::Outcome;
use super::run::{Ended, Known, Run, Running};
use crate::executor::Ran;
use crate::flow::{Fate, Mark};
use crate::message;
use crate::message::Message;
use crate::task::TaskError;

/// Where a value ended its way early.
#[message(crate = crate, derive(Debug))]
#[derive(Debug)]
struct Note {
    stage: u32,
    why: Why,
}

#[message(crate = crate, derive(Debug))]
#[derive(Debug)]
enum Why {
    /// The text of an error that the task returned.
    Refused(String),
    Lost(Kept),
}

/// As it is written.
type Way<P> = (Option<P>, Vec<Note>);

impl Run {
    /// What is recorded of an item of a flow.
    pub(crate) fn recall_fate<P: Message>(&mut self, known: Known) -> Result<Fate<P>, TaskError> {
        let (partial, notes) = self.read(known, |run, record| run.outputs.read::<Way<P>>(record.value))?;
        let context = self.desk.context(Some(known.index() as u64));
        let mark = |note: Note| match note.why {
            Why::Refused(text) => Mark::refused(note.stage, text),
            Why::Lost(kept) => Mark::lost(note.stage, kept::error(kept, context.clone())),
        };
        Ok(Fate { partial, marks: notes.into_iter().map(mark).collect() })
    }

    /// Records what became of an item of a flow, if that is something that stays. `text` says why of the first value that ended early.
    pub(crate) fn keep_fate<P: Message>(
        &mut self,
        item: Running,
        ran: Option<Ran>,
        fate: Fate<P>,
        text: Option<String>,
    ) -> Result<(), TaskError> {
        let mut ended = Ended::done(ran);
        let mut notes = Vec::with_capacity(fate.marks.len());
        for Mark { stage, why } in fate.marks {
            let why = match why {
                Ok(text) => {
                    if ended.outcome == Outcome::Done {
                        ended.outcome = Outcome::Failed;
                    }
                    Why::Refused(text)
                }
                Err(error) => {
                    // What says nothing of the item is tried again by the next run.
                    let Some(kept) = kept::of(&error) else { return Ok(()) };
                    ended = Ended::lost(ran, &error, String::new());
                    Why::Lost(kept)
                }
            };
            notes.push(Note { stage, why });
        }
        ended.text = text;
        let way: Way<P> = (fate.partial, notes);
        let value = self.outputs.of(&way).map_err(|error| self.desk.not_written(item, &error))?;
        self.desk.write(item, &ended, value)
    }
}
