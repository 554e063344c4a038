//! What ranks say of themselves, before anything else: numbers that every build understands.

/// A rank that runs tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RankInfo {
    /// Its number.
    pub rank: usize,
    /// The machine it runs on.
    pub host: String,
    /// Its process.
    pub process: u32,
    /// How many tasks it runs at a time.
    pub workers: usize,
}

/// What a rank says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) build: u64,
    pub(super) workers: u64,
    /// It can end tasks that run.
    pub(super) kills: bool,
    pub(super) process: u32,
    pub(super) host: String,
}

const MARK: u64 = 0x6b6e_6172_6f73_666f;

impl Greeting {
    pub(super) fn write(&self) -> Vec<u8> {
        let numbers = [MARK, self.build, self.workers, self.kills.into(), self.process.into()];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.extend_from_slice(self.host.as_bytes());
        bytes
    }

    /// `None`: it comes from something else.
    pub(super) fn read(bytes: &[u8]) -> Option<Greeting> {
        let (numbers, host) = bytes.split_at_checked(40)?;
        let mut numbers = numbers
            .chunks_exact(8)
            .map(|bytes| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)));
        let mut next = || numbers.next();
        if next()? != MARK {
            return None;
        }
        let (build, workers, kills, process) = (next()?, next()?, next()? != 0, u32::try_from(next()?).ok()?);
        Some(Greeting { build, workers, kills, process, host: String::from_utf8_lossy(host).into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_come_back_and_damaged_ones_do_not() {
        let greeting = Greeting { build: 1 << 60, workers: 4, kills: true, process: 77, host: "h1".into() };
        let bytes = greeting.write();
        assert_eq!(Greeting::read(&bytes), Some(greeting));
        for len in 0..40 {
            assert_eq!(Greeting::read(&bytes[..len]), None);
        }
        assert_eq!(Greeting::read(&[0; 64]), None);
    }
}
