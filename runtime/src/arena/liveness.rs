//! Whether a member is alive: a byte lock that the kernel holds for it, on the second memfd, at the number of its slot.
//!
//! The kernel drops the lock after the address space of the process is gone, so that no write of it follows. It needs no
//! pid, no parenthood and no /proc. Nobody may close a duplicate of that memfd in a member (see `sys::lock`).

use std::os::fd::AsFd;

#[cfg(feature = "testing")]
use super::Life;
use super::id::Owner;
use super::{Arena, ArenaError};
use crate::sys::lock;

impl Arena {
    /// Declares this process alive as `owner`, until it ends.
    pub(crate) fn hold_liveness(&self, owner: Owner) -> Result<(), ArenaError> {
        match lock::take(self.locks.as_fd(), owner.slot() as u32) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ArenaError::Foreign { what: "the process slot, which another process is alive in," }),
            Err(source) => Err(ArenaError::Io { context: "declaring a process alive", source }),
        }
    }

    /// The pid, as this process sees it, of the process that is alive as `owner`. 0: it is in a pid namespace that cannot be seen from here.
    pub(crate) fn liveness_holder(&self, owner: Owner) -> Option<u32> {
        self.slots().get(owner)?;
        lock::holder(self.locks.as_fd(), owner.slot() as u32).ok()?
    }

    /// Whether the process `owner` is alive. `true` if that cannot be told, as then nothing of it may be touched.
    pub(crate) fn is_alive(&self, owner: Owner) -> bool {
        if self.me() == owner {
            return true;
        }
        #[cfg(feature = "testing")]
        if self.habitat == super::create::Habitat::Stage {
            return self.slots().get(owner).is_some_and(|slot| (Life::Reserved..Life::Dead).contains(&slot.life()));
        }
        self.slots().get(owner).is_some() && lock::is_taken(self.locks.as_fd(), owner.slot() as u32).unwrap_or(true)
    }
}
