//! Distributions: counts in buckets whose width grows with the value, so that a few kilobytes hold any number of measurements.

/// How measurements are spread: how many, the least, the most, the mean and percentiles.
///
/// Kept in buckets that grow with the value, each 1/32 of a doubling wide or less; so [`percentile`](Self::percentile) is right to 3 %, and the rest exactly.
/// What is measured, and in which unit, says the field that it stands in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
    buckets: Vec<u64>,
}

/// Buckets of a doubling, as a power of two.
const FINE: u32 = 5;

fn bucket_of(value: u64) -> usize {
    let bits = 64 - value.leading_zeros();
    if bits <= FINE + 1 {
        return value as usize;
    }
    let shift = bits - FINE - 1;
    ((shift as usize) << FINE) + (value >> shift) as usize
}

/// The values that fall into a bucket: from the first to before the second.
fn range_of(bucket: usize) -> (u64, u128) {
    let shift = (bucket >> FINE).saturating_sub(1) as u32;
    let top = (bucket - ((shift as usize) << FINE)) as u64;
    (top << shift, (u128::from(top) + 1) << shift)
}

impl Spread {
    pub(crate) fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum += u128::from(value);
        let bucket = bucket_of(value);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
    }

    /// Adds the measurements of another.
    pub fn merge(&mut self, other: &Spread) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum += other.sum;
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// How many measurements there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The least; 0 if there is none.
    pub fn min(&self) -> u64 {
        self.min
    }

    /// The most; 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean; 0 if there is none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// The value that so many percent of the measurements do not exceed, right to 3 %; 0 if there is none.
    ///
    /// `percentile(50.0)` is the median. Less than 0 is taken for 0, more than 100 for 100.
    pub fn percentile(&self, percent: f64) -> u64 {
        let rank = (percent.clamp(0.0, 100.0) / 100.0 * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let (from, to) = range_of(bucket);
                let middle = (u128::from(from) + (to - 1)) / 2;
                return u64::try_from(middle).unwrap_or(u64::MAX).clamp(self.min, self.max);
            }
        }
        self.max
    }

    /// The counts in ranges of values, as `(from, to, count)`, each range a doubling; those before the first and after the last that has some are left
    /// out.
    pub(crate) fn doublings(&self) -> Vec<(u64, u128, u64)> {
        let mut bars: Vec<(u64, u128, u64)> = Vec::new();
        for (bucket, count) in self.buckets.iter().enumerate() {
            if *count == 0 && bars.is_empty() {
                continue;
            }
            let (from, _) = range_of(bucket);
            let bits = 64 - from.leading_zeros();
            let low = if bits == 0 { 0 } else { 1 << (bits - 1) };
            match bars.last_mut() {
                Some(last) if last.0 == low => last.2 += count,
                _ => bars.push((low, if bits == 0 { 1 } else { u128::from(low) * 2 }, *count)),
            }
        }
        bars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_in_its_bucket_and_buckets_are_narrow() {
        let mut values: Vec<u64> =
            (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1, (1u64 << bit) + 7]).collect();
        values.extend([u64::MAX, 1000, 123_456_789]);
        for value in values {
            let (from, to) = range_of(bucket_of(value));
            assert!(from <= value && u128::from(value) < to, "{value}: {from}..{to}");
            assert!(to - u128::from(from) <= 1 + u128::from(from) / 32, "{value}: {from}..{to}");
        }
        assert!((1..100_000u64).all(|value| bucket_of(value) - bucket_of(value - 1) <= 1));
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let mut spread = Spread::default();
        let mut values: Vec<u64> = (0..10_000u64).map(|n| n.wrapping_mul(0x9E37_79B9) % 1_000_003).collect();
        values.iter().for_each(|value| spread.add(*value));
        values.sort_unstable();
        for percent in [0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0] {
            let rank = ((percent / 100.0 * values.len() as f64).ceil() as usize).max(1);
            let (exact, got) = (values[rank - 1] as f64, spread.percentile(percent) as f64);
            assert!((got - exact).abs() <= exact * 0.032 + 1.0, "{percent}: {got}, exactly {exact}");
        }
        assert_eq!(spread.sum(), values.iter().map(|value| u128::from(*value)).sum::<u128>());
        assert_eq!((spread.min(), spread.max()), (values[0], values[9_999]));
    }

    #[test]
    fn two_merged_are_as_one() {
        let (mut one, mut other, mut whole) = (Spread::default(), Spread::default(), Spread::default());
        for value in [5, 70, 900, 11_000] {
            one.add(value);
            whole.add(value);
        }
        for value in [1, 2_000_000] {
            other.add(value);
            whole.add(value);
        }
        one.merge(&other);
        one.merge(&Spread::default());
        assert_eq!(one, whole);
    }

    #[test]
    fn doublings_hold_every_measurement_once() {
        let mut spread = Spread::default();
        (0..5000u64).for_each(|value| spread.add(value * value));
        let bars = spread.doublings();
        assert_eq!(bars.iter().map(|bar| bar.2).sum::<u64>(), 5000);
        assert!(bars.windows(2).all(|pair| pair[0].1 == u128::from(pair[1].0)), "{bars:?}");
    }

    #[test]
    fn nothing_measured_is_zero() {
        let none = Spread::default();
        assert_eq!((none.count(), none.percentile(50.0), none.mean()), (0, 0, 0.0));
    }
}
