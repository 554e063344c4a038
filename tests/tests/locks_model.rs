//! Random operations on locks by several processes, one at a time, some of which are killed; each result is compared with that of
//! a model of a few lines.

use offspring::sync::{Event, Mutex, MutexGuard, Permit, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};
use offspring::{Child, ErrorKind, Failure, Process, message, pipe, task};
use offspring_tests::kill::Random;
use offspring_tests::locks::{checked, murder};

const PERMITS: usize = 3;
const PROCESSES: usize = 3;

#[message]
#[derive(Clone)]
struct Locks {
    mutex: Mutex<u64>,
    rwlock: RwLock<u64>,
    semaphore: Semaphore,
    event: Event,
}

#[message]
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Lock,
    Recover,
    Unlock,
    Read,
    Write,
    Downgrade,
    Leave,
    Acquire(usize),
    GiveBack,
    Forget,
    Release,
    Set,
    Clear,
}

/// What came of an order: a number, or the name of the error's kind.
type Answer = Result<u64, String>;

type Ends = (pipe::Receiver<Order>, pipe::Sender<Answer>);

fn name(kind: ErrorKind) -> String {
    format!("{kind:?}")
}

/// What a process has in its hands.
#[derive(Default)]
struct Hands<'a> {
    lock: Option<MutexGuard<'a, u64>>,
    read: Option<RwLockReadGuard<'a, u64>>,
    write: Option<RwLockWriteGuard<'a, u64>>,
    permits: Vec<Permit<'a>>,
}

impl<'a> Hands<'a> {
    fn obey(&mut self, locks: &'a Locks, order: Order) -> Result<u64, offspring::sync::SyncError> {
        match order {
            Order::Lock => self.lock = Some(locks.mutex.try_lock()?),
            Order::Recover => self.lock = Some(locks.mutex.try_recover()?),
            Order::Unlock => {
                let mut lock = self.lock.take().expect("an order that fits");
                *lock += 1;
                return Ok(*lock);
            }
            Order::Read => self.read = Some(locks.rwlock.try_read()?),
            Order::Write => self.write = Some(locks.rwlock.try_write()?),
            Order::Downgrade => {
                self.read = Some(RwLockWriteGuard::downgrade(self.write.take().expect("an order that fits"))?);
            }
            Order::Leave => (self.read, self.write) = (None, None),
            Order::Acquire(permits) => self.permits.push(locks.semaphore.try_acquire_many(permits)?),
            Order::GiveBack => drop(self.permits.pop()),
            Order::Forget => self.permits.pop().expect("an order that fits").forget(),
            Order::Release => locks.semaphore.release(1)?,
            Order::Set => locks.event.set()?,
            Order::Clear => locks.event.clear()?,
        }
        Ok(0)
    }
}

#[task]
fn obey(locks: Locks, ends: Ends) -> Result<(), Failure> {
    let mut hands = Hands::default();
    while let Ok(order) = ends.0.recv() {
        ends.1.send(&hands.obey(&locks, order).map_err(|error| name(error.kind())))?;
    }
    Ok(())
}

/// What a process of the model has in its hands.
#[derive(Clone, Debug, Default)]
struct Holds {
    lock: bool,
    read: bool,
    write: bool,
    permits: Vec<usize>,
}

#[derive(Debug, Default)]
struct Model {
    holds: [Holds; PROCESSES],
    value: u64,
    poisoned: bool,
    rwlock_poisoned: bool,
    forgotten: usize,
    set: bool,
}

impl Model {
    fn available(&self) -> usize {
        PERMITS - self.forgotten - self.holds.iter().flat_map(|it| &it.permits).sum::<usize>()
    }

    /// The answer, if the order makes sense for the process right now.
    fn answer(&mut self, who: usize, order: Order) -> Option<Answer> {
        let error = |kind| Some(Err(name(kind)));
        let locked = self.holds.iter().any(|it| it.lock);
        let (reads, writes) = (self.holds.iter().any(|it| it.read), self.holds.iter().any(|it| it.write));
        let available = self.available();
        let me = &mut self.holds[who];
        match order {
            Order::Lock | Order::Recover if me.lock => return error(ErrorKind::Deadlock),
            Order::Lock | Order::Recover if locked => return error(ErrorKind::InUse),
            Order::Lock if self.poisoned => return error(ErrorKind::Poisoned),
            Order::Lock | Order::Recover => (me.lock, self.poisoned) = (true, false),
            Order::Unlock => {
                me.lock.then_some(())?;
                me.lock = false;
                self.value += 1;
                return Some(Ok(self.value));
            }
            Order::Read | Order::Write if me.read || me.write => return None,
            Order::Read if writes => return error(ErrorKind::InUse),
            Order::Write if writes || reads => return error(ErrorKind::InUse),
            Order::Read | Order::Write if self.rwlock_poisoned => return error(ErrorKind::Poisoned),
            Order::Read => me.read = true,
            Order::Write => me.write = true,
            Order::Downgrade => {
                me.write.then_some(())?;
                (me.read, me.write) = (true, false);
            }
            Order::Leave => (me.read, me.write) = (false, false),
            Order::Acquire(permits) if permits <= available => me.permits.push(permits),
            Order::Acquire(_) => return error(ErrorKind::Empty),
            Order::GiveBack => drop(me.permits.pop()),
            Order::Forget => self.forgotten += me.permits.pop()?,
            Order::Release => self.forgotten = self.forgotten.checked_sub(1)?,
            Order::Set => self.set = true,
            Order::Clear => self.set = false,
        }
        Some(Ok(0))
    }

    fn die(&mut self, who: usize) {
        let held = std::mem::take(&mut self.holds[who]);
        self.poisoned |= held.lock;
        self.rwlock_poisoned |= held.write;
    }
}

fn random_order(random: &mut Random) -> Order {
    match random.below(13) {
        0 => Order::Lock,
        1 => Order::Recover,
        2 => Order::Unlock,
        3 => Order::Read,
        4 => Order::Write,
        5 => Order::Downgrade,
        6 => Order::Leave,
        7 => Order::Acquire(1 + random.below(2) as usize),
        8 => Order::GiveBack,
        9 => Order::Forget,
        10 => Order::Release,
        11 => Order::Set,
        _ => Order::Clear,
    }
}

/// A process that obeys, and the ends of its pipes.
struct Servant {
    child: Child<Result<(), Failure>>,
    orders: pipe::Sender<Order>,
    answers: pipe::Receiver<Answer>,
}

impl Servant {
    fn new(locks: &Locks) -> Servant {
        let (orders, to_obey) = pipe::channel().unwrap();
        let (to_answer, answers) = pipe::channel().unwrap();
        let child = Process::new(obey, (locks, (to_obey, to_answer))).spawn().unwrap();
        Servant { child, orders, answers }
    }
}

#[test]
fn whatever_processes_do_and_whoever_is_killed_the_answers_are_those_of_the_model() {
    checked(|| {
        let mut random = Random::from_env();
        let locks = Locks {
            mutex: Mutex::new(0).unwrap(),
            rwlock: RwLock::new(0).unwrap(),
            semaphore: Semaphore::new(PERMITS).unwrap(),
            event: Event::new().unwrap(),
        };
        let mut model = Model::default();
        let mut servants: Vec<Servant> = (0..PROCESSES).map(|_| Servant::new(&locks)).collect();
        let mut log = Vec::new();
        for _ in 0..3000 {
            let who = random.below(PROCESSES as u64) as usize;
            if random.below(60) == 0 {
                log.push(format!("{who} is killed"));
                murder(std::mem::replace(&mut servants[who], Servant::new(&locks)).child);
                model.die(who);
                if model.rwlock_poisoned && !model.holds.iter().any(|it| it.read || it.write) {
                    drop(locks.rwlock.recover().unwrap());
                    model.rwlock_poisoned = false;
                }
            } else {
                let order = random_order(&mut random);
                let Some(expected) = model.answer(who, order) else { continue };
                log.push(format!("{who}: {order:?}"));
                servants[who].orders.send(&order).unwrap();
                let answer = servants[who].answers.recv().unwrap();
                let last = || log[log.len().saturating_sub(20)..].join(", ");
                assert_eq!(answer, expected, "after {}", last());
            }
            assert_eq!(locks.semaphore.available_permits(), model.available(), "{:?}", log.last());
            assert_eq!((locks.mutex.is_poisoned(), locks.event.is_set()), (model.poisoned, model.set));
            assert_eq!(locks.rwlock.readers(), model.holds.iter().filter(|it| it.read).count());
        }
        for servant in servants {
            drop((servant.orders, servant.answers));
            servant.child.join().unwrap().unwrap();
        }
    });
}
