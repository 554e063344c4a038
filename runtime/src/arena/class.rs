//! Size classes of small blocks: four a doubling, and such that many divide a span well.

use super::layout::GRANULE;

/// How many classes there are.
pub(crate) const CLASSES: usize = 30;
/// The largest small block.
pub(crate) const SMALL_MAX: usize = SIZES[CLASSES - 1] as usize;

/// Block sizes: multiples of 64. Above 8 KiB they follow from how many fit a span: 7, 6, 5, 4, 3, 2.
pub(crate) const SIZES: [u32; CLASSES] = [
    64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 5120,
    6144, 7168, 8192, 9344, 10880, 13056, 16384, 21824, 32768,
];

/// The class of each length, counted in units of 64 bytes, rounded up.
const CLASS_OF: [u8; SMALL_MAX / 64 + 1] = {
    let mut table = [0; SMALL_MAX / 64 + 1];
    let (mut units, mut class) = (0, 0);
    while units < table.len() {
        if units * 64 > SIZES[class] as usize {
            class += 1;
        }
        table[units] = class as u8;
        units += 1;
    }
    table
};

/// The class of blocks of `len` bytes; `None` if those are large.
#[inline]
pub(crate) fn class_of(len: usize) -> Option<usize> {
    if len > SMALL_MAX { None } else { CLASS_OF.get(len.div_ceil(64)).map(|class| *class as usize) }
}

/// The size of the blocks of a class; `None` if there is no such class.
#[inline]
pub(crate) fn size_of_class(class: usize) -> Option<usize> {
    SIZES.get(class).map(|size| *size as usize)
}

/// How many blocks of a class are in a span; 0 if there is no such class.
pub(crate) fn blocks_of_class(class: usize) -> usize {
    size_of_class(class).map_or(0, |size| GRANULE as usize / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_small_length_gets_the_least_class_that_holds_it() {
        for len in 0..=SMALL_MAX {
            let class = class_of(len).unwrap();
            assert!(SIZES[class] as usize >= len && (class == 0 || (SIZES[class - 1] as usize) < len), "{len}");
        }
        assert_eq!(class_of(SMALL_MAX + 1), None);
        assert!(SIZES.iter().all(|size| size % 64 == 0));
        assert_eq!((blocks_of_class(0), blocks_of_class(CLASSES - 1), blocks_of_class(CLASSES)), (1024, 2, 0));
    }
}
