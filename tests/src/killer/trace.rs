//! A process under ptrace that is stepped, doubled and killed.

use super::arch::{self, Instruction};
use super::memory::Memory;
use super::stage::{self, Change};
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

/// Like `PTRACE_CONT`, but stops before each system call, which is not made. Not in `libc` for every machine.
const PTRACE_SYSEMU: u32 = 31;

/// After this long in a system call, a victim whose state is `S` is taken to be asleep.
const NAP: Duration = Duration::from_millis(2);

unsafe extern "C" {
    fn offspring_killer_begin();
    fn offspring_killer_end();
    fn offspring_killer_syscall();
}

thread_local! {
    /// What is to be made read-only when the operation begins, in a victim.
    static GUARDED: Cell<Option<Memory>> = const { Cell::new(None) };
}

/// What a victim does just before its operation begins.
pub(super) fn at_begin() {
    if let Some(memory) = GUARDED.take() {
        memory.guard();
        // Freeing it would be done by an allocator that the operation uses, too.
        std::mem::forget(memory);
    }
}

/// A stopped process; killed when it is dropped.
#[derive(Debug)]
pub(super) struct Tracee {
    pid: i32,
    /// Whether its shared memory is read-only.
    guarded: bool,
}

/// What one step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One instruction further.
    Next,
    /// In a system call, sleeping: it can only be killed.
    Asleep,
    /// The operation was complete before: no step was made.
    End,
    /// It died or got a signal of its own.
    Failed(String),
}

/// How far [`Tracee::advance`] came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Advance {
    /// Just after a store to memory that counts.
    Stored,
    /// Just before a system call.
    Syscall,
    /// The operation is complete.
    End,
    /// It died or got a signal of its own.
    Failed(String),
}

impl Tracee {
    /// Forks a process that runs `run`, and lets it go up to where the operation begins. With `guarded`, that memory is
    /// read-only from there on, for [`advance`](Tracee::advance).
    pub(super) fn launch(guarded: Option<&Memory>, run: impl FnOnce()) -> Result<Tracee, String> {
        let pid = stage::fork(|| {
            GUARDED.set(guarded.cloned());
            request(libc::PTRACE_TRACEME, 0, 0, 0).expect("to be traced");
            run();
            0
        });
        let tracee = Tracee { pid, guarded: guarded.is_some() };
        tracee.run_to(offspring_killer_begin as *const () as usize, Duration::from_secs(20))?;
        let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACECLONE;
        request(libc::PTRACE_SETOPTIONS, pid, 0, options as usize)?;
        Ok(tracee)
    }

    /// Another process at the same instruction, with the same registers and a copy of its private memory.
    pub(super) fn twin(&self) -> Result<Tracee, String> {
        let here = self.registers()?;
        let tid = tid_address();
        let flags = libc::CLONE_PARENT | libc::SIGCHLD | if tid == 0 { 0 } else { libc::CLONE_CHILD_SETTID };
        self.enter(&here, libc::SYS_clone, arch::clone_args(flags as u64, tid))?;
        match stage::wait(self.pid, None) {
            Some(Change::Stopped(libc::SIGTRAP, event)) if event != 0 => {}
            other => return Err(format!("no twin: {other:?}")),
        }
        let mut pid: libc::c_ulong = 0;
        request(libc::PTRACE_GETEVENTMSG, self.pid, 0, &raw mut pid as usize)?;
        let twin = Tracee { pid: pid as i32, guarded: self.guarded };
        // It begins with a SIGSTOP, which is never delivered: each resumption passes no signal on.
        match stage::wait(twin.pid, None) {
            Some(Change::Stopped(libc::SIGSTOP, _)) => {}
            other => return Err(format!("the twin does not stop: {other:?}")),
        }
        self.resume(libc::PTRACE_CONT)?;
        self.leave(here)?;
        let mut there = here;
        arch::set_pc(&mut there, arch::pc(&here));
        twin.set_registers(&there)?;
        Ok(twin)
    }

    /// Makes it do a system call of the killer's choice.
    fn enter(&self, here: &libc::user_regs_struct, number: i64, args: [u64; 5]) -> Result<(), String> {
        let mut call = *here;
        arch::set_syscall(&mut call, number, args);
        arch::set_pc(&mut call, offspring_killer_syscall as *const () as usize);
        self.set_registers(&call)?;
        self.resume(libc::PTRACE_CONT)
    }

    /// After the system call: back to where it was.
    fn leave(&self, mut here: libc::user_regs_struct) -> Result<(), String> {
        match stage::wait(self.pid, None) {
            Some(Change::Stopped(libc::SIGTRAP, 0)) => {}
            other => return Err(format!("after a system call of the killer: {other:?}")),
        }
        let pc = arch::pc(&here);
        arch::set_pc(&mut here, pc);
        self.set_registers(&here)
    }

    /// Runs on to just after the next store to memory that counts, or to just before the next system call, and says which.
    ///
    /// The memory was made read-only when the operation began, so no instruction but the storing one has to be stepped.
    pub(super) fn advance(&self, memory: &Memory) -> Result<Advance, String> {
        if self.at_end()? {
            return Ok(Advance::End);
        }
        self.resume(PTRACE_SYSEMU)?;
        match stage::wait(self.pid, Some(Duration::from_secs(20))) {
            Some(Change::Stopped(libc::SIGTRAP, 0)) => {
                let mut regs = self.registers()?;
                let pc = arch::pc(&regs);
                if pc.wrapping_sub(arch::AFTER_BREAKPOINT) == offspring_killer_end as *const () as usize {
                    self.jump(pc.wrapping_sub(arch::AFTER_BREAKPOINT))?;
                    return Ok(Advance::End);
                }
                arch::undo_syscall_entry(&mut regs);
                self.set_registers(&regs)?;
                Ok(Advance::Syscall)
            }
            Some(Change::Stopped(libc::SIGSEGV, 0)) => {
                // SAFETY: plain data; the kernel fills it.
                let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
                request(libc::PTRACE_GETSIGINFO, self.pid, 0, &raw mut info as usize)?;
                // SAFETY: a SIGSEGV carries an address.
                let address = unsafe { info.si_addr() } as usize;
                let Some(range) = memory.guarded(address) else {
                    return Ok(Advance::Failed(format!("a fault at {address:#x}, place {:#x}", self.place())));
                };
                self.protect(range, libc::PROT_READ | libc::PROT_WRITE)?;
                let stepped = self.step()?;
                self.protect(range, libc::PROT_READ)?;
                match stepped {
                    Step::Failed(why) => Ok(Advance::Failed(why)),
                    _ => Ok(Advance::Stored),
                }
            }
            other => Ok(Advance::Failed(format!("{other:?} at {:#x}", self.place()))),
        }
    }

    fn protect(&self, (start, len): (usize, usize), protection: i32) -> Result<(), String> {
        let here = self.registers()?;
        self.enter(&here, libc::SYS_mprotect, [start as u64, len as u64, protection as u64, 0, 0])?;
        self.leave(here)
    }

    /// One instruction.
    pub(super) fn step(&self) -> Result<Step, String> {
        let pc = self.pc()?;
        if pc == offspring_killer_end as *const () as usize {
            return Ok(Step::End);
        }
        match self.instruction(pc)? {
            Instruction::Plain => {
                self.resume(libc::PTRACE_SINGLESTEP)?;
                self.stepped(stage::wait(self.pid, None))
            }
            Instruction::Whole(stops) => {
                self.run_to_any(&stops)?;
                Ok(Step::Next)
            }
            Instruction::Syscall => {
                self.resume(libc::PTRACE_SINGLESTEP)?;
                loop {
                    match stage::wait(self.pid, Some(NAP)) {
                        None if crate::proc::process(self.pid).is_some_and(|it| it.state == 'S') => {
                            return Ok(Step::Asleep);
                        }
                        None => {}
                        change => return self.stepped(change),
                    }
                }
            }
        }
    }

    /// Whether the operation is complete.
    pub(super) fn at_end(&self) -> Result<bool, String> {
        Ok(self.pc()? == offspring_killer_end as *const () as usize)
    }

    /// Whether the next instruction enters the kernel.
    pub(super) fn before_syscall(&self) -> Result<bool, String> {
        Ok(self.instruction(self.pc()?)? == Instruction::Syscall)
    }

    /// Runs on without steps to the end of the operation.
    pub(super) fn finish(&self, memory: &Memory, limit: Duration) -> Result<(), String> {
        if self.at_end()? {
            return Ok(());
        }
        self.start(memory)?;
        self.finished(limit)
    }

    /// Lets it run on; [`finished`](Tracee::finished) waits for it.
    pub(super) fn start(&self, memory: &Memory) -> Result<(), String> {
        if self.guarded {
            for range in memory.guards() {
                self.protect(*range, libc::PROT_READ | libc::PROT_WRITE)?;
            }
        }
        self.resume(libc::PTRACE_CONT)
    }

    /// Gives a process that was started time to fall asleep.
    pub(super) fn doze(&self) {
        for _ in 0..20 {
            if crate::proc::process(self.pid).is_none_or(|it| it.state != 'R') {
                return;
            }
            std::thread::sleep(NAP / 10);
        }
    }

    /// Waits until a process that was started reaches the end of the operation.
    pub(super) fn finished(&self, limit: Duration) -> Result<(), String> {
        match stage::wait_going(self.pid, limit) {
            Some(Change::Stopped(libc::SIGTRAP, 0)) => {
                let pc = self.pc()?.wrapping_sub(arch::AFTER_BREAKPOINT);
                if pc != offspring_killer_end as *const () as usize {
                    return Err(format!("stopped at {pc:#x}"));
                }
                // Back on the marker, where a step would have stopped.
                self.jump(pc)
            }
            None => Err(format!("hangs: {}", crate::proc::describe(self.pid))),
            Some(other) => Err(format!("{other:?} before the end of the operation")),
        }
    }

    /// Lets a process that stands at the end of its operation go on, until it ends; that must be in order.
    pub(super) fn depart(&self, memory: &Memory, limit: Duration) -> Result<(), String> {
        self.jump(self.pc()? + arch::BREAKPOINT.len())?;
        self.start(memory)?;
        match stage::wait_going(self.pid, limit) {
            Some(Change::Exited(0)) => Ok(()),
            None => Err(format!("hangs: {}", crate::proc::describe(self.pid))),
            Some(other) => Err(format!("{other:?}")),
        }
    }

    /// SIGKILL, and reaped.
    pub(super) fn kill(self) {
        drop(self);
    }

    /// Where it is, as an address that `addr2line -e` takes.
    pub(super) fn place(&self) -> usize {
        let begin = offspring_killer_begin as *const () as usize;
        self.pc().unwrap_or(begin).wrapping_sub(image_base())
    }

    fn stepped(&self, change: Option<Change>) -> Result<Step, String> {
        match change {
            Some(Change::Stopped(libc::SIGTRAP, 0)) => Ok(Step::Next),
            Some(Change::Stopped(signal, _)) => {
                Ok(Step::Failed(format!("signal {signal} at {:#x} of the image", self.place())))
            }
            other => Err(format!("a step ended in {other:?}")),
        }
    }

    /// Runs to the breakpoint that stands at `place` in the program, and past it.
    fn run_to(&self, place: usize, limit: Duration) -> Result<(), String> {
        match stage::wait(self.pid, Some(limit)) {
            Some(Change::Stopped(libc::SIGTRAP, 0)) => {}
            other => return Err(format!("the operation never began: {other:?}")),
        }
        if self.pc()?.wrapping_sub(arch::AFTER_BREAKPOINT) != place {
            return Err("a breakpoint that is not the marker".to_owned());
        }
        self.jump(place + arch::BREAKPOINT.len())
    }

    fn run_to_any(&self, stops: &[usize]) -> Result<(), String> {
        let mut saved = Vec::new();
        for stop in stops {
            let word = request(libc::PTRACE_PEEKTEXT, self.pid, *stop, 0)?;
            let mut patched = word.to_le_bytes();
            patched[..arch::BREAKPOINT.len()].copy_from_slice(arch::BREAKPOINT);
            saved.push((*stop, word));
            request(libc::PTRACE_POKETEXT, self.pid, *stop, i64::from_le_bytes(patched) as usize)?;
        }
        self.resume(libc::PTRACE_CONT)?;
        let change = stage::wait(self.pid, Some(Duration::from_secs(10)));
        for (stop, word) in saved.into_iter().rev() {
            request(libc::PTRACE_POKETEXT, self.pid, stop, word as usize)?;
        }
        if change != Some(Change::Stopped(libc::SIGTRAP, 0)) {
            return Err(format!("an instruction run as a whole ended in {change:?}"));
        }
        self.jump(self.pc()?.wrapping_sub(arch::AFTER_BREAKPOINT))
    }

    fn instruction(&self, pc: usize) -> Result<Instruction, String> {
        if vdso().contains(&pc) {
            // Reading the clock starts over when the kernel has moved it meanwhile: stepped slowly, it would never end.
            let word = |at| request(libc::PTRACE_PEEKDATA, self.pid, at, 0).map(|word| word as usize);
            return Ok(Instruction::Whole(vec![arch::return_address(&self.registers()?, word)?]));
        }
        // A load-exclusive needs the instructions behind it; elsewhere one word tells all.
        let words = if cfg!(target_arch = "aarch64") { arch::WINDOW / 8 } else { 1 };
        let mut code = Vec::with_capacity(words * 8);
        for word in 0..words {
            code.extend_from_slice(&request(libc::PTRACE_PEEKTEXT, self.pid, pc + word * 8, 0)?.to_le_bytes());
        }
        Ok(arch::classify(pc, &code))
    }

    fn pc(&self) -> Result<usize, String> {
        Ok(arch::pc(&self.registers()?))
    }

    fn jump(&self, pc: usize) -> Result<(), String> {
        let mut regs = self.registers()?;
        arch::set_pc(&mut regs, pc);
        self.set_registers(&regs)
    }

    fn registers(&self) -> Result<libc::user_regs_struct, String> {
        // SAFETY: plain data; the kernel fills it.
        let mut regs: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        let mut into = libc::iovec { iov_base: (&raw mut regs).cast(), iov_len: size_of_val(&regs) };
        request(libc::PTRACE_GETREGSET, self.pid, libc::NT_PRSTATUS as usize, &raw mut into as usize)?;
        Ok(regs)
    }

    fn set_registers(&self, regs: &libc::user_regs_struct) -> Result<(), String> {
        let mut from = libc::iovec { iov_base: ptr::from_ref(regs).cast_mut().cast(), iov_len: size_of_val(regs) };
        request(libc::PTRACE_SETREGSET, self.pid, libc::NT_PRSTATUS as usize, &raw mut from as usize).map(drop)
    }

    fn resume(&self, how: u32) -> Result<(), String> {
        request(how, self.pid, 0, 0).map(drop)
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        stage::kill_and_reap(self.pid);
    }
}

fn request(what: u32, pid: i32, address: usize, data: usize) -> Result<i64, String> {
    // SAFETY: callers pass addresses of the tracee, or of live data of the size that the request asks for. PEEKTEXT through
    // the libc wrapper returns the word.
    unsafe {
        *libc::__errno_location() = 0;
        let got = libc::ptrace(what, pid, address, data);
        let error = io::Error::last_os_error();
        if got == -1 && error.raw_os_error() != Some(0) {
            return Err(format!("ptrace request {what} on {pid}: {error}"));
        }
        Ok(got)
    }
}

/// Where libc caches this thread's number: a raw `clone` has to renew it in the child.
fn tid_address() -> u64 {
    let mut address = 0usize;
    // SAFETY: the kernel writes one word.
    let done = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut address) };
    if done == 0 { address as u64 } else { 0 }
}

/// The code that the kernel maps into every process, at the same place in all forks of one.
fn vdso() -> Range<usize> {
    static VDSO: OnceLock<Range<usize>> = OnceLock::new();
    let find = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap_or_default();
        let number = |text: &str| usize::from_str_radix(text, 16).unwrap_or(0);
        line.split_whitespace()
            .next()
            .and_then(|range| range.split_once('-'))
            .map_or(0..0, |(start, end)| number(start)..number(end))
    };
    VDSO.get_or_init(find).clone()
}

/// Where the program is loaded.
fn image_base() -> usize {
    // SAFETY: reads this process's auxiliary vector.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    // The program headers follow the ELF header at once.
    headers & !0xfff
}
