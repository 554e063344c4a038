//! What differs between the machines: registers, breakpoints, and the instructions that cannot be stepped.

use libc::user_regs_struct;

/// Where an instruction that is stepped stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    Plain,
    /// Enters the kernel, and may sleep there.
    Syscall,
    /// Must be run as a whole: up to whichever of these addresses is reached first.
    Whole(Vec<usize>),
}

/// What is read at the program counter to tell instructions apart.
pub(super) const WINDOW: usize = 80;

#[cfg(target_arch = "x86_64")]
mod machine {
    use super::*;

    std::arch::global_asm!(
        ".globl offspring_killer_begin",
        ".globl offspring_killer_end",
        ".globl offspring_killer_syscall",
        "offspring_killer_begin: int3",
        "ret",
        "offspring_killer_end: int3",
        "ret",
        "offspring_killer_syscall: syscall",
        "int3",
    );

    pub(in crate::killer) const BREAKPOINT: &[u8] = &[0xcc];
    /// How far the program counter stands behind a breakpoint that was hit.
    pub(in crate::killer) const AFTER_BREAKPOINT: usize = 1;

    pub(in crate::killer) fn pc(regs: &user_regs_struct) -> usize {
        regs.rip as usize
    }

    pub(in crate::killer) fn set_pc(regs: &mut user_regs_struct, pc: usize) {
        regs.rip = pc as u64;
        // Not within a system call: the kernel must not restart one.
        regs.orig_rax = u64::MAX;
    }

    pub(in crate::killer) fn set_syscall(regs: &mut user_regs_struct, number: i64, args: [u64; 5]) {
        regs.rax = number as u64;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8] = args;
    }

    /// Where a function that was just entered returns to.
    pub(in crate::killer) fn return_address(
        regs: &user_regs_struct,
        word: impl Fn(usize) -> Result<usize, String>,
    ) -> Result<usize, String> {
        word(regs.rsp as usize)
    }

    /// From the stop before a system call that is not made to the instruction that makes it.
    pub(in crate::killer) fn undo_syscall_entry(regs: &mut user_regs_struct) {
        regs.rax = regs.orig_rax;
        set_pc(regs, pc(regs) - 2);
    }

    /// `clone(flags, stack, parent_tid, child_tid, tls)`
    pub(in crate::killer) fn clone_args(flags: u64, child_tid: u64) -> [u64; 5] {
        [flags, 0, 0, child_tid, 0]
    }

    pub(in crate::killer) fn classify(pc: usize, code: &[u8]) -> Instruction {
        if code.starts_with(&[0x0f, 0x05]) {
            return Instruction::Syscall;
        }
        // rep movs/stos: prefixes f2/f3 and 66, one REX byte, then the opcode.
        let prefixes = code.iter().take_while(|byte| matches!(byte, 0xf2 | 0xf3 | 0x66)).count();
        let repeats = code[..prefixes].iter().any(|byte| matches!(byte, 0xf2 | 0xf3));
        let rex = code.get(prefixes).is_some_and(|byte| byte & 0xf0 == 0x40) as usize;
        match code.get(prefixes + rex) {
            Some(0xa4 | 0xa5 | 0xaa | 0xab) if repeats => Instruction::Whole(vec![pc + prefixes + rex + 1]),
            _ => Instruction::Plain,
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    use super::*;

    std::arch::global_asm!(
        ".globl offspring_killer_begin",
        ".globl offspring_killer_end",
        ".globl offspring_killer_syscall",
        "offspring_killer_begin: brk #0",
        "ret",
        "offspring_killer_end: brk #0",
        "ret",
        "offspring_killer_syscall: svc #0",
        "brk #0",
    );

    pub(in crate::killer) const BREAKPOINT: &[u8] = &[0x00, 0x00, 0x20, 0xd4];
    /// A breakpoint that was hit leaves the program counter on itself.
    pub(in crate::killer) const AFTER_BREAKPOINT: usize = 0;

    pub(in crate::killer) fn pc(regs: &user_regs_struct) -> usize {
        regs.pc as usize
    }

    pub(in crate::killer) fn set_pc(regs: &mut user_regs_struct, pc: usize) {
        regs.pc = pc as u64;
    }

    pub(in crate::killer) fn set_syscall(regs: &mut user_regs_struct, number: i64, args: [u64; 5]) {
        regs.regs[8] = number as u64;
        regs.regs[..5].copy_from_slice(&args);
    }

    /// Where a function that was just entered returns to.
    pub(in crate::killer) fn return_address(
        regs: &user_regs_struct,
        _: impl Fn(usize) -> Result<usize, String>,
    ) -> Result<usize, String> {
        Ok(regs.regs[30] as usize)
    }

    /// From the stop before a system call that is not made to the instruction that makes it.
    pub(in crate::killer) fn undo_syscall_entry(regs: &mut user_regs_struct) {
        regs.pc -= 4;
    }

    /// `clone(flags, stack, parent_tid, tls, child_tid)`
    pub(in crate::killer) fn clone_args(flags: u64, child_tid: u64) -> [u64; 5] {
        [flags, 0, 0, 0, child_tid]
    }

    pub(in crate::killer) fn classify(pc: usize, code: &[u8]) -> Instruction {
        let word = |at: usize| code.get(at * 4..at * 4 + 4).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]));
        let Some(first) = word(0) else { return Instruction::Plain };
        if first == 0xd400_0001 {
            return Instruction::Syscall;
        }
        if first & 0x3fc0_0000 != 0x0840_0000 {
            return Instruction::Plain;
        }
        // A load-exclusive: run until after the store-exclusive that belongs to it, or to where a branch leaves before.
        let mut stops = Vec::new();
        for at in 1..WINDOW / 4 {
            let Some(next) = word(at) else { break };
            if next & 0xff00_0010 == 0x5400_0000 || next & 0x7e00_0000 == 0x3400_0000 {
                // b.cond, cbz and cbnz: a signed word offset of 19 bits.
                let offset = ((next >> 5 & 0x7ffff) << 13) as i32 >> 13;
                stops.push((pc + at * 4).wrapping_add_signed(offset as isize * 4));
            }
            if next & 0x3fc0_0000 == 0x0800_0000 {
                stops.push(pc + (at + 1) * 4);
                // The branch that repeats the loop lands on the load again and is stepped like any other instruction.
                stops.retain(|stop| *stop != pc);
                return Instruction::Whole(stops);
            }
        }
        Instruction::Plain
    }
}

pub(super) use machine::*;

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn repeated_string_instructions_and_system_calls_are_recognised() {
        assert_eq!(classify(100, &[0xf3, 0xaa, 0x90]), Instruction::Whole(vec![102]));
        assert_eq!(classify(100, &[0xf3, 0x48, 0xa5, 0x90]), Instruction::Whole(vec![103]));
        assert_eq!(classify(100, &[0x0f, 0x05, 0x90]), Instruction::Syscall);
        assert_eq!(classify(100, &[0xf3, 0x90, 0xaa]), Instruction::Plain, "pause");
        assert_eq!(classify(100, &[0xaa, 0x90]), Instruction::Plain);
    }
}
