//! The positive control: two words changed under a lock whose holder may die, by the pattern of the library (intent, then
//! change, then clear), and what is found when one step of it is wrong.

use super::{Fate, Memory, Mode, Play, Role, Sweep, audit_sweep, duel, stepped, sweep};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing.
    Nothing,
    /// The first word changes before the intent is written.
    ChangeFirst,
    /// The intent is cleared before the second word changes.
    ClearFirst,
    /// The audit leaves the lock to the dead.
    KeepLock,
    /// The audit clears the intent before it carries it out: seen only when the auditor is killed.
    AuditClearsFirst,
    /// The audit does not wake those whom the dead should have woken.
    NoWake,
}

impl Wrong {
    /// All of them, `Nothing` excluded.
    pub const ALL: [Wrong; 5] =
        [Wrong::ChangeFirst, Wrong::ClearFirst, Wrong::KeepLock, Wrong::AuditClearsFirst, Wrong::NoWake];
}

const WAITERS: u32 = 1 << 31;

#[derive(Debug)]
struct Accounts {
    /// 0, or the holder, with [`WAITERS`] if somebody sleeps.
    lock: AtomicU32,
    intent: AtomicU32,
    /// What the two words are to become.
    new: [AtomicU32; 2],
    words: [AtomicU32; 2],
}

impl Accounts {
    fn transfer(&self, me: u32, wrong: Wrong) {
        let mut mine = me;
        while let Err(seen) = self.lock.compare_exchange(0, mine, SeqCst, SeqCst) {
            if seen & WAITERS != 0 || self.lock.compare_exchange(seen, seen | WAITERS, SeqCst, SeqCst).is_ok() {
                futex(&self.lock, libc::FUTEX_WAIT, seen | WAITERS);
                mine = me | WAITERS;
            }
        }
        let [a, b] = [&self.words[0], &self.words[1]];
        self.new[0].store(a.load(Relaxed) - 1, Relaxed);
        self.new[1].store(b.load(Relaxed) + 1, Relaxed);
        if wrong == Wrong::ChangeFirst {
            a.store(a.load(Relaxed) - 1, SeqCst);
        }
        self.intent.store(1, SeqCst);
        a.store(self.new[0].load(Relaxed), SeqCst);
        if wrong == Wrong::ClearFirst {
            self.intent.store(0, SeqCst);
        }
        b.store(self.new[1].load(Relaxed), SeqCst);
        self.intent.store(0, SeqCst);
        if self.lock.swap(0, SeqCst) & WAITERS != 0 {
            futex(&self.lock, libc::FUTEX_WAKE, 1);
        }
    }

    fn audit(&self, dead: u32, wrong: Wrong) {
        if self.lock.load(SeqCst) & !WAITERS == dead && wrong != Wrong::KeepLock {
            if self.intent.load(SeqCst) == 1 {
                if wrong == Wrong::AuditClearsFirst {
                    self.intent.store(0, SeqCst);
                }
                for (word, new) in self.words.iter().zip(&self.new) {
                    word.store(new.load(Relaxed), SeqCst);
                }
                self.intent.store(0, SeqCst);
            }
            self.lock.store(0, SeqCst);
        }
        if wrong != Wrong::NoWake {
            futex(&self.lock, libc::FUTEX_WAKE, i32::MAX as u32);
        }
    }

    /// What a survivor sees; it must also be able to do a transfer itself.
    fn verify(&self) -> String {
        let seen = [self.words[0].load(SeqCst), self.words[1].load(SeqCst)];
        self.transfer(9, Wrong::Nothing);
        assert_eq!([seen[0] - 1, seen[1] + 1], [self.words[0].load(SeqCst), self.words[1].load(SeqCst)]);
        format!("{seen:?}")
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: the word lives as long as the borrow; no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, ptr::null::<libc::timespec>()) };
}

/// One victim; two victims interleaved; the stepped auditor.
///
/// # Errors
///
/// When there is no memory, or a sweep could not be made.
pub fn control(wrong: Wrong, mode: Mode) -> Result<[Sweep; 3], String> {
    let (memory, start) = Memory::zeroed(size_of::<Accounts>()).map_err(|error| error.to_string())?;
    // SAFETY: the mapping is that long, page-aligned and zeroed, is never unmapped, and `Accounts` is made of atomics.
    let accounts = unsafe { &*start.cast::<Accounts>() };
    accounts.words[0].store(50, SeqCst);
    let audit = |_, dead| {
        if dead != Role::First {
            accounts.audit(if dead == Role::Victim { 1 } else { 2 }, wrong);
        }
    };
    let victim = || stepped(|| accounts.transfer(1, wrong));
    let other = || stepped(|| accounts.transfer(2, wrong));
    let auditor = || stepped(|| accounts.audit(1, wrong));
    let play = Play {
        memory: &memory,
        victim: &victim,
        other: None,
        died: &|_| {},
        audit: &audit,
        verify: &|| accounts.verify(),
    };
    let one = sweep(&play, mode)?;
    let two = duel(&Play { other: Some(&other), ..play }, &[Fate::VictimDies, Fate::OtherDies, Fate::BothDie], mode)?;
    let play = Play {
        memory: &memory,
        victim: &victim,
        other: Some(&auditor),
        died: &|_| {},
        audit: &audit,
        verify: &|| accounts.verify(),
    };
    Ok([one, two, audit_sweep(&play, mode)?])
}
