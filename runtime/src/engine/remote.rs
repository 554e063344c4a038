//! The pool that stands over any transport.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use super::calls::Calls;
use super::driver::Driver;
use super::hub::{Hub, Phase};
use super::transport::Transport;
use super::{build_id, pool_id};
use crate::executor::{Executor, Part, ProgramOptions};
use crate::pool::policy::Policy;
use crate::task::{Accept, Fused, Program, TaskError, TaskFn};
use crate::{RunOptions, TaskHandle};

/// A pool whose workers are reached through a [`Transport`].
///
/// It offers what [`Executor`] says. Dropping it takes no more work, waits for what is under way and somebody holds a handle to, and ends the
/// transport; while a panic unwinds, what is under way is given up.
pub struct RemotePool {
    hub: Arc<Hub>,
    policy: Policy,
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for RemotePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemotePool").field("hub", &self.hub).finish_non_exhaustive()
    }
}

/// As much as a program's first thread usually has: a transport may run tasks in it.
const STACK: usize = 8 << 20;

impl RemotePool {
    /// A pool over the transport that `make` makes, on a thread of its own of this name.
    ///
    /// # Errors
    ///
    /// That of `make`, or no thread can be started.
    pub fn start<T, E>(
        name: &str,
        options: &RunOptions,
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<RemotePool, E>
    where
        T: Transport,
        E: From<std::io::Error> + Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        let drive = move || {
            let transport = match make() {
                Ok(transport) => transport,
                Err(error) => return drop(sender.send(Err(error))),
            };
            let hub = Arc::new(Hub::new(pool_id(), build_id(), &transport));
            if sender.send(Ok(hub.clone())).is_ok() {
                Driver::new(hub, transport).run();
            }
        };
        let driver = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(drive)?;
        match receiver.recv() {
            Ok(Ok(hub)) => {
                let policy = options.over(&Policy::default());
                Ok(RemotePool { hub, policy, driver: Mutex::new(Some(driver)) })
            }
            Ok(Err(error)) => {
                // It has nothing more to do.
                let _ = driver.join();
                Err(error)
            }
            Err(_) => Err(std::io::Error::other("the thread of the engine has panicked").into()),
        }
    }

    /// Which pool this is, among all.
    pub fn id(&self) -> u64 {
        self.hub.pool
    }

    /// How many chunks run at a time, on all workers that are there now.
    pub fn workers(&self) -> usize {
        self.hub.workers()
    }

    /// Takes no more work. What was begun goes on.
    pub fn close(&self) {
        self.hub.close();
    }

    /// Gives up all that is not done: whoever waits for it gets [`TaskError::PoolClosed`].
    pub fn terminate(&self) {
        self.hub.terminate();
    }

    /// Closes it, waits for what is under way, and for the end of the transport.
    pub fn join(&self) {
        self.close();
        // Others who join wait here for the one that does.
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = driver.take() {
            // A panic there was reported as any thread's.
            let _ = driver.join();
        }
    }

    /// Why nothing works any more, if so.
    pub fn broken(&self) -> Option<String> {
        match self.hub.phase() {
            Phase::Broken(why) => Some(why.to_string()),
            Phase::Open | Phase::Closed => None,
        }
    }

    fn calls<'a>(&'a self, policy: &'a Policy) -> Calls<'a> {
        Calls { hub: &self.hub, policy }
    }
}

impl Drop for RemotePool {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.terminate();
        }
        self.join();
    }
}

/// Such a pool with options for its runs.
#[derive(Debug)]
struct RemoteRun<'a> {
    pool: &'a RemotePool,
    policy: Policy,
}

macro_rules! remote_executor {
    ($type:ty, |$engine:ident| $pool:expr, $policy:expr) => {
        impl Executor for $type {
            fn with_options(&self, options: &RunOptions) -> impl Executor + '_ {
                let $engine = self;
                RemoteRun { pool: $pool, policy: options.over($policy) }
            }

            fn own_options(&self) -> RunOptions {
                let $engine = self;
                RunOptions::of($policy)
            }

            #[track_caller]
            fn map<F, M, I>(&self, _: F, items: I) -> Result<Vec<F::Output>, TaskError>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                let $engine = self;
                $pool.calls($policy).map::<F, M, I>(items)
            }

            #[track_caller]
            fn try_map<F, M, I>(&self, _: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                let $engine = self;
                $pool.calls($policy).try_map::<F, M, I>(items)
            }

            #[track_caller]
            fn imap<F, M, I>(&self, _: F, items: I) -> impl Iterator<Item = Result<F::Output, TaskError>>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                let $engine = self;
                $pool.calls($policy).results::<F, M, I>(items, false).map(|(_, result)| result)
            }

            #[track_caller]
            fn imap_unordered<F, M, I>(
                &self,
                _: F,
                items: I,
            ) -> impl Iterator<Item = (usize, Result<F::Output, TaskError>)>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                let $engine = self;
                $pool.calls($policy).results::<F, M, I>(items, true)
            }

            #[track_caller]
            fn submit<F, M, A>(&self, _: F, input: A) -> Result<TaskHandle<F::Output>, TaskError>
            where
                F: TaskFn<M>,
                A: Accept<M>,
            {
                let $engine = self;
                $pool.calls($policy).submit::<F, M, A>(input)
            }

            fn run_program<P, I>(
                &self,
                items: I,
                options: ProgramOptions,
            ) -> impl Iterator<Item = Result<Part<P::Output>, TaskError>>
            where
                P: Program,
                I: Iterator,
                I::Item: Accept<Fused<P>>,
            {
                let $engine = self;
                $pool.calls($policy).parts::<P, I>(items, &options)
            }
        }
    };
}

remote_executor!(RemotePool, |pool| pool, &pool.policy);
remote_executor!(RemoteRun<'_>, |run| run.pool, &run.policy);

/// Implements [`Executor`] for a type that has one inside.
// Not public API.
#[doc(hidden)]
#[macro_export]
macro_rules! __delegate_executor {
    ($type:ty, |$engine:ident| $inner:expr) => {
        impl $crate::Executor for $type {
            fn with_options(&self, options: &$crate::RunOptions) -> impl $crate::Executor + '_ {
                let $engine = self;
                $crate::Executor::with_options($inner, options)
            }

            fn own_options(&self) -> $crate::RunOptions {
                let $engine = self;
                $crate::Executor::own_options($inner)
            }

            #[track_caller]
            fn map<F, M, I>(&self, task: F, items: I) -> ::std::result::Result<Vec<F::Output>, $crate::TaskError>
            where
                F: $crate::TaskFn<M>,
                I: IntoIterator,
                I::Item: $crate::Accept<M>,
            {
                let $engine = self;
                $crate::Executor::map($inner, task, items)
            }

            #[track_caller]
            fn try_map<F, M, I>(
                &self,
                task: F,
                items: I,
            ) -> ::std::result::Result<Vec<::std::result::Result<F::Output, $crate::TaskError>>, $crate::TaskError>
            where
                F: $crate::TaskFn<M>,
                I: IntoIterator,
                I::Item: $crate::Accept<M>,
            {
                let $engine = self;
                $crate::Executor::try_map($inner, task, items)
            }

            #[track_caller]
            fn imap<F, M, I>(
                &self,
                task: F,
                items: I,
            ) -> impl Iterator<Item = ::std::result::Result<F::Output, $crate::TaskError>>
            where
                F: $crate::TaskFn<M>,
                I: IntoIterator,
                I::Item: $crate::Accept<M>,
            {
                let $engine = self;
                $crate::Executor::imap($inner, task, items)
            }

            #[track_caller]
            fn imap_unordered<F, M, I>(
                &self,
                task: F,
                items: I,
            ) -> impl Iterator<Item = (usize, ::std::result::Result<F::Output, $crate::TaskError>)>
            where
                F: $crate::TaskFn<M>,
                I: IntoIterator,
                I::Item: $crate::Accept<M>,
            {
                let $engine = self;
                $crate::Executor::imap_unordered($inner, task, items)
            }

            #[track_caller]
            fn submit<F, M, A>(
                &self,
                task: F,
                input: A,
            ) -> ::std::result::Result<$crate::TaskHandle<F::Output>, $crate::TaskError>
            where
                F: $crate::TaskFn<M>,
                A: $crate::Accept<M>,
            {
                let $engine = self;
                $crate::Executor::submit($inner, task, input)
            }

            fn run_program<P, I>(
                &self,
                items: I,
                options: $crate::__private::internals::ProgramOptions,
            ) -> impl Iterator<
                Item = ::std::result::Result<$crate::__private::internals::Part<P::Output>, $crate::TaskError>,
            >
            where
                P: $crate::__private::internals::Program,
                I: Iterator,
                I::Item: $crate::Accept<$crate::__private::internals::Fused<P>>,
            {
                let $engine = self;
                $crate::Executor::run_program::<P, I>($inner, items, options)
            }
        }
    };
}
