//! What a handle has done when its call is over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use super::{State, TaskHandle, read};
use crate::message::Message;
use crate::pool::watching::watch::{self, Until};
use crate::task::TaskError;

impl<R: Message> TaskHandle<R> {
    /// Calls `callback` with the result once the call is over, on a thread of the calling process that does only that. The value can
    /// still be taken from this handle; dropping the handle does not take the callback back.
    ///
    /// Several callbacks of one handle, and those of different handles, run one after the other. A callback that panics is reported
    /// on standard error as any thread's panic is, and harms nothing else. If the call is over already, it is called soon.
    ///
    /// # Examples
    ///
    /// ```
    /// use offspring::{Pool, task};
    /// use std::sync::mpsc;
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let (sender, receiver) = mpsc::channel();
    /// let handle = pool.submit(square, 7)?;
    /// handle.on_done(move |result| sender.send(result.clone().unwrap_or(0)).unwrap());
    /// assert_eq!(receiver.recv().unwrap(), 49);
    /// assert_eq!(handle.get()?, 49);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "callback")]
    #[doc(alias = "add_done_callback")]
    pub fn on_done(&self, callback: impl FnOnce(&Result<R, TaskError>) + Send + 'static) {
        match &self.0 {
            State::Pooled { core, window, .. } => {
                let (job, reading) = (window.job(), window.share());
                let pool = Arc::downgrade(core);
                let on_done = move || callback(&read(&reading, pool.upgrade().as_deref()));
                core.watch(job, Until::Done, None, Box::new(move || watch::call_back(Box::new(on_done))));
            }
            #[cfg(feature = "engine")]
            State::Distant { call, .. } => {
                let reading = call.clone();
                let on_done = move || callback(&reading.read());
                call.when_over(Box::new(move || watch::call_back(Box::new(on_done))));
            }
            // Here: the value may be no `Send`, so it cannot be lent to another thread.
            State::Over { context, result } => {
                let taken = || Err(TaskError::Taken { context: context.clone() });
                // Unwind safety: the callback is gone afterwards, and it owned all it used.
                let call = || match result {
                    Some(result) => callback(result),
                    None => callback(&taken()),
                };
                let _ = catch_unwind(AssertUnwindSafe(call));
            }
        }
    }

    /// As [`on_done`](Self::on_done), for a call that gives a value. Does nothing for one that fails.
    pub fn on_value(&self, callback: impl FnOnce(&R) + Send + 'static) {
        self.on_done(|result| {
            if let Ok(value) = result {
                callback(value);
            }
        });
    }

    /// As [`on_done`](Self::on_done), for a call that gives no value. A task's own `Err` is a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use offspring::{Pool, task};
    /// use std::sync::mpsc;
    ///
    /// #[task]
    /// fn crash(_: ()) {
    ///     std::process::exit(3)
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// let (sender, receiver) = mpsc::channel();
    /// pool.submit(crash, ())?.on_error(move |error| sender.send(error.to_string()).unwrap());
    /// assert!(receiver.recv().unwrap().contains("exit code 3"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "error_callback")]
    pub fn on_error(&self, callback: impl FnOnce(&TaskError) + Send + 'static) {
        self.on_done(|result| {
            if let Err(error) = result {
                callback(error);
            }
        });
    }

    /// Has `index` sent when the call is over, as long as `sender` is not the only one to hold its channel.
    pub(in crate::pool) fn send_when_over(&self, index: usize, sender: &Arc<mpsc::SyncSender<usize>>) {
        match &self.0 {
            State::Pooled { core, window, .. } => {
                let waiter: Arc<dyn Send + Sync> = sender.clone();
                let sender = Arc::downgrade(sender);
                let send = move || {
                    if let Some(sender) = sender.upgrade() {
                        // The channel has room for every handle.
                        let _ = sender.try_send(index);
                    }
                };
                core.watch(window.job(), Until::Done, Some(Arc::downgrade(&waiter)), Box::new(send));
            }
            #[cfg(feature = "engine")]
            State::Distant { call, .. } => {
                let sender = Arc::downgrade(sender);
                call.when_over(Box::new(move || {
                    if let Some(sender) = sender.upgrade() {
                        // The channel has room for every handle.
                        let _ = sender.try_send(index);
                    }
                }));
            }
            State::Over { .. } => drop(sender.try_send(index)),
        }
    }
}
