//! What things are called on the server.
//!
//! All of one run (of one pool, that is) bears the id of the program's build and an id of the run, so that several programs, and several builds
//! of one, can share a server: a worker never hears of tasks that its program does not have.

/// All streams of this crate begin so.
pub(crate) const PREFIX: &str = "OFFSPRING_";
/// The stream behind an object store bucket is called after it, with this before it.
pub(crate) const BUCKET_STREAM: &str = "OBJ_";
/// The consumer that all workers of a run pull from.
pub(crate) const WORKERS: &str = "workers";
/// The consumer through which a run's pool takes its results. Where it is gone, so is the pool.
pub(crate) const MASTER: &str = "master";

/// The names of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    build: u64,
    run: u64,
}

impl Names {
    pub(crate) fn new(build: u64, run: u64) -> Names {
        Names { build, run }
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// What the streams and the bucket of the run begin with.
    fn base(&self) -> String {
        format!("{PREFIX}{:016x}_{:016x}", self.build, self.run)
    }

    pub(crate) fn tasks(&self) -> String {
        format!("{}_TASKS", self.base())
    }

    pub(crate) fn results(&self) -> String {
        format!("{}_RESULTS", self.base())
    }

    pub(crate) fn bucket(&self) -> String {
        self.base()
    }

    /// Where the tasks of a job are published.
    pub(crate) fn task_subject(&self, job: u64) -> String {
        format!("{}.task.{job}", self.subject())
    }

    pub(crate) fn task_subjects(&self) -> String {
        format!("{}.task.*", self.subject())
    }

    pub(crate) fn result_subject(&self) -> String {
        format!("{}.result", self.subject())
    }

    /// Where workers ask the pool whether they may begin, unstored.
    pub(crate) fn turns(&self) -> String {
        format!("{}.turn", self.subject())
    }

    /// Where the pool speaks to its workers, unstored.
    pub(crate) fn control(&self) -> String {
        format!("{}.control", self.subject())
    }

    fn subject(&self) -> String {
        format!("offspring.{:016x}.{:016x}", self.build, self.run)
    }
}

/// Where pools of a build say that they are there.
pub(crate) fn pools(build: u64) -> String {
    format!("offspring.{build:016x}.pools")
}

/// Where workers of a build say that they are there.
pub(crate) fn workers(build: u64) -> String {
    format!("offspring.{build:016x}.workers")
}

/// Where workers of any build say so.
pub(crate) fn all_workers() -> String {
    "offspring.*.workers".to_owned()
}

/// The part of the name of one of a run's streams that the run's other names begin with, too; `None`: a stream of somebody else.
pub(crate) fn base_of(stream: &str) -> Option<&str> {
    let name = stream.strip_prefix(BUCKET_STREAM).unwrap_or(stream);
    let ids = name.strip_prefix(PREFIX)?;
    let base = ids.get(..33)?;
    let is_hex = |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (build, run) = base.split_once('_')?;
    (is_hex(build) && is_hex(run) && matches!(&ids[33..], "" | "_TASKS" | "_RESULTS"))
        .then(|| &name[..PREFIX.len() + 33])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_run_are_known_by_their_base_and_those_of_others_are_not() {
        let names = Names::new(0xab, 7);
        let base = "OFFSPRING_00000000000000ab_0000000000000007";
        for name in [names.tasks(), names.results(), format!("{BUCKET_STREAM}{}", names.bucket())] {
            assert_eq!(base_of(&name), Some(base), "{name}");
        }
        for other in [
            "ORDERS",
            "OFFSPRING_",
            "OFFSPRING_x_TASKS",
            "OBJ_photos",
            "OFFSPRING_00000000000000ab_00000000000000é7_TASKS",
        ] {
            assert_eq!(base_of(other), None, "{other}");
        }
        assert_eq!(base_of(&format!("{base}_MINE")), None);
    }
}
