//! Round trips through memory of every awkward shape, and what damaged bytes do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::{CString, OsString};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroI64, NonZeroU8, NonZeroUsize};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use offspring_macros::message;

use super::*;
use crate::ErrorKind;

/// Memory of a mapping, as far as the encoder can tell: one block, cut into spans as stingily as its rules allow.
struct Mapping {
    bytes: Box<[Line]>,
    used: usize,
    /// More than asked for, per span.
    slack: usize,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "only its bytes are used")] [u8; 64]);

impl Mapping {
    fn new(len: usize, slack: usize) -> Self {
        Mapping { bytes: vec![Line([0xa5; 64]); len.div_ceil(64)].into(), used: 0, slack }
    }

    fn range(&self) -> Range {
        let start = self.bytes.as_ptr() as usize;
        start..start + self.bytes.len() * 64
    }

    fn take(&mut self, len: usize) -> Option<NonNull<u8>> {
        let at = self.used;
        self.used += len.next_multiple_of(64);
        (self.used <= self.bytes.len() * 64).then(|| NonNull::from(&mut self.bytes[at / 64]).cast())
    }
}

#[derive(Clone)]
struct Stingy(Rc<std::cell::RefCell<Mapping>>);

impl Stingy {
    fn new(len: usize, slack: usize) -> Self {
        Stingy(Rc::new(std::cell::RefCell::new(Mapping::new(len, slack))))
    }

    fn slot(&self) -> *mut u8 {
        self.0.borrow_mut().take(256).expect("room for a slot").as_ptr()
    }
}

impl Sink for Stingy {
    fn more(&mut self, min: usize) -> Result<SinkSpan, EncodeError> {
        let mut mapping = self.0.borrow_mut();
        let len = min + mapping.slack;
        let ptr = mapping.take(len).ok_or_else(|| EncodeError::new(ErrorKind::OutOfMemory, "the mapping is full"))?;
        // SAFETY: `len` initialised bytes at a multiple of 64, handed out once; the mapping lives in the test.
        Ok(unsafe { SinkSpan::new(ptr, len) })
    }

    fn pin(&mut self, _: &Pin) -> Result<(), EncodeError> {
        Err(EncodeError::new(ErrorKind::NotSendable, "this mapping refers to nothing"))
    }
}

/// Writes the values through one encoder, checks them, reads them back.
pub(super) fn round_trip<T: Message + PartialEq + Debug>(values: &[T]) {
    for slack in [0, 1, 64, 5000] {
        let memory = Stingy::new(4 << 20, slack);
        let mut encoder = Encoder::new(Box::new(memory.clone()));
        let slots: Vec<_> = values.iter().map(|_| memory.slot()).collect();
        for (value, slot) in values.iter().zip(&slots) {
            assert!(size_of::<T::Archived>() <= 256);
            // SAFETY: a slot of 256 bytes in the mapping of the sink's spans.
            unsafe { encoder.put(value, *slot) }.expect("encodes");
        }
        let range = memory.0.borrow().range();
        for (value, slot) in values.iter().zip(slots) {
            // SAFETY: the mapping is readable, and nobody writes it now; the slot was written above.
            unsafe {
                validate::<T>(slot, std::slice::from_ref(&range)).expect("is valid");
                assert_eq!(decode::<T>(slot).as_ref(), Ok(value), "slack {slack}");
            }
        }
    }
}

#[message(crate = crate)]
#[derive(Debug, Clone, PartialEq)]
struct Page {
    url: String,
    links: Vec<String>,
    saved_as: Option<PathBuf>,
    seen: BTreeMap<OsString, Vec<SystemTime>>,
    size: usize,
}

#[message(crate = crate)]
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Null,
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object { fields: BTreeMap<String, Json>, boxed: Option<Box<Json>> },
}

#[message(crate = crate)]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    x: f64,
    y: f64,
}

#[message(crate = crate)]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Padded {
    small: u8,
    large: u64,
}

#[message(crate = crate)]
#[derive(Debug, Clone, PartialEq)]
struct Unit;

#[message(crate = crate)]
#[derive(Debug, Clone, PartialEq)]
struct Pair<A, B = u8>(A, B);

fn odd_name() -> OsString {
    OsString::from_vec((1..=255).collect())
}

fn page(links: usize) -> Page {
    Page {
        url: "https://example.org".into(),
        links: (0..links).map(|n| format!("a link with the number {n}")).collect(),
        saved_as: Some(PathBuf::from(odd_name())),
        seen: BTreeMap::from([(odd_name(), vec![SystemTime::UNIX_EPOCH - Duration::from_nanos(1)])]),
        size: usize::MAX,
    }
}

#[test]
fn numbers_come_back() {
    round_trip(&[0u8, 255]);
    round_trip(&[i16::MIN, -1]);
    round_trip(&[u64::MAX, 1 << 33]);
    round_trip(&[u128::MAX, 1 << 100]);
    round_trip(&[f32::MIN_POSITIVE, -0.0]);
    round_trip(&[true, false]);
    round_trip(&['\u{10ffff}', 'a']);
    round_trip(&[usize::MAX, 1 << 40]);
    round_trip(&[isize::MIN, isize::MAX]);
    round_trip(&[NonZeroU8::MAX]);
    round_trip(&[NonZeroI64::MIN, NonZeroI64::MAX]);
    round_trip(&[NonZeroUsize::MIN, NonZeroUsize::MAX]);
    round_trip(&[()]);
}

#[test]
fn strings_and_names_of_any_bytes_come_back() {
    round_trip(&[String::new(), "short".into(), "long ".repeat(1000), "ünïcode".into()]);
    round_trip(&[OsString::new(), odd_name()]);
    round_trip(&[PathBuf::new(), PathBuf::from("/"), PathBuf::from(odd_name())]);
    round_trip(&[CString::default(), CString::from(c"text")]);
    round_trip::<Box<str>>(&["".into(), "boxed".into()]);
    round_trip::<Cow<'static, str>>(&[Cow::Borrowed("cow")]);
}

#[test]
fn collections_come_back() {
    round_trip(&[vec![], vec![1u64, 2], (0..100_000).collect()]);
    round_trip(&[vec![vec![]], vec![vec![1u8, 2], vec![]]]);
    round_trip(&[vec![(); 7]]);
    round_trip(&[vec![(1u32, 2u32); 1000]]);
    round_trip(&[vec![(1u8, 2u64); 1000]]);
    round_trip(&[vec![Some("x".to_string()), None]]);
    round_trip(&[VecDeque::from([1, 2, 3])]);
    round_trip(&[LinkedList::from(["a".to_string(), "b".to_string()])]);
    round_trip(&[[[1u8; 3]; 2]]);
    round_trip(&[["a".to_string(), "b".repeat(100)]]);
    round_trip(&[HashMap::from([("k".to_string(), vec![1u8])]), HashMap::new()]);
    round_trip(&[(0..1000).map(|n| (n, n * n)).collect::<HashMap<u64, u64>>()]);
    round_trip(&[HashSet::from([PathBuf::from("/a"), PathBuf::from(odd_name())])]);
    round_trip(&[(0..1000).map(|n| (n, n.to_string())).collect::<BTreeMap<u64, _>>(), BTreeMap::new()]);
    round_trip(&[BTreeSet::from([(1, "x".to_string())]), BTreeSet::new()]);
    let heap: BinaryHeap<u64> = [3, 1, 2].into();
    let memory = Stingy::new(1 << 16, 0);
    let slot = memory.slot();
    // SAFETY: the slot was just made for this.
    let read = unsafe {
        Encoder::new(Box::new(memory.clone())).put(&heap, slot).expect("encodes");
        decode::<BinaryHeap<u64>>(slot)
    };
    assert_eq!(read.map(BinaryHeap::into_sorted_vec), Ok(vec![1, 2, 3]));
}

#[test]
fn wrappers_tuples_and_times_come_back() {
    round_trip(&[Some(1u64), None]);
    round_trip(&[Ok::<u8, String>(1), Err("no".repeat(50))]);
    round_trip(&[Box::new("x".to_string())]);
    round_trip(&[(1u8, "a".to_string(), 2.5, vec![1u16], [0u8; 3], 'c', (), true, 1u8, 2u8, 3u8, 4u64)]);
    round_trip(&[1u64..5, 7..7]);
    round_trip(&["a".to_string()..="b".repeat(80)]);
    round_trip(&[Duration::MAX, Duration::ZERO, Duration::from_nanos(1)]);
    let epoch = SystemTime::UNIX_EPOCH;
    let late = epoch + Duration::from_secs(1 << 40);
    round_trip(&[epoch, late, epoch - Duration::from_nanos(1), epoch - Duration::from_millis(1500), SystemTime::now()]);
    round_trip(&[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    round_trip(&[SocketAddr::from(([127, 0, 0, 1], 80))]);
    round_trip::<Box<[String]>>(&[Box::new([]), Box::new(["x".repeat(99)])]);
}

#[test]
fn types_of_users_come_back() {
    round_trip(&[page(0), page(1), page(500)]);
    round_trip(&[Unit]);
    round_trip(&[Pair(1u64, "x".to_string())]);
    round_trip(&[Pair(Pair(PathBuf::from(odd_name()), SystemTime::UNIX_EPOCH), 7u8)]);
    round_trip(&[vec![Point { x: 1.0, y: 2.0 }; 3000]]);
    round_trip(&[vec![Padded { small: 1, large: 2 }; 3000]]);
    let leaf = Json::List(vec![Json::Null, Json::Number(1.5), Json::Text("long text ".repeat(20))]);
    let object = Json::Object { fields: BTreeMap::from([("k".into(), leaf.clone())]), boxed: Some(Box::new(leaf)) };
    round_trip(&[Json::Null, object.clone(), Json::List(vec![object; 50])]);
}

#[test]
fn padding_free_structs_and_tuples_are_copied_at_once() {
    const {
        assert!(Point::COPY.is_enabled());
        assert!(<(u32, u32)>::COPY.is_enabled());
        assert!(<[Point; 4]>::COPY.is_enabled());
        assert!(!Padded::COPY.is_enabled());
        assert!(!<(u8, u64)>::COPY.is_enabled());
        assert!(!Page::COPY.is_enabled());
        assert!(!<(String,)>::COPY.is_enabled());
    }
}

#[test]
fn what_is_shared_stays_shared_within_a_message() -> Result<(), DecodeError> {
    let (one, text) = (Arc::new(page(3)), Arc::<str>::from("text"));
    let empty = Arc::<[u64]>::from([]);
    let value = (vec![one.clone(), one.clone()], (text.clone(), text), (empty.clone(), Arc::<str>::from(""), empty));
    let nothing = (Arc::new(()), Arc::new(()));
    let both = (value, nothing);
    round_trip(std::slice::from_ref(&both));
    let memory = Stingy::new(1 << 16, 0);
    let slot = memory.slot();
    // SAFETY: the slot was just made for this.
    let ((pages, texts, _), nothing) = unsafe {
        Encoder::new(Box::new(memory.clone())).put(&both, slot).expect("encodes");
        decode::<((Vec<Arc<Page>>, (Arc<str>, Arc<str>), (Arc<[u64]>, Arc<str>, Arc<[u64]>)), (Arc<()>, Arc<()>))>(
            slot,
        )?
    };
    assert!(Arc::ptr_eq(&pages[0], &pages[1]) && Arc::ptr_eq(&texts.0, &texts.1));
    assert!(!Arc::ptr_eq(&nothing.0, &nothing.1));
    Ok(())
}

#[test]
fn a_full_mapping_is_an_error_and_leaves_the_encoder_usable() {
    let memory = Stingy::new(4096, 0);
    let mut encoder = Encoder::new(Box::new(memory.clone()));
    let (first, second) = (memory.slot(), memory.slot());
    // SAFETY: both slots were just made for this.
    unsafe {
        let error = encoder.put(&vec![page(1), page(1000)], first).expect_err("does not fit");
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        encoder.put(&vec!["fits".to_string()], second).expect("fits");
        assert_eq!(decode::<Vec<String>>(second), Ok(vec!["fits".to_string()]));
    }
}

#[test]
fn maps_are_looked_up_in_place_by_borrowed_keys() {
    let map = HashMap::from([(PathBuf::from("/a/b"), 1u64), (PathBuf::from(odd_name()), 2)]);
    let memory = Stingy::new(1 << 16, 0);
    let slot = memory.slot();
    // SAFETY: the slot was just made for this; the memory outlives the borrow.
    let archived = unsafe {
        Encoder::new(Box::new(memory.clone())).put(&map, slot).expect("encodes");
        &*slot.cast::<Archived<HashMap<PathBuf, u64>>>()
    };
    assert_eq!(archived.get(Path::new("/a//b/")).map(|value| value.to_native()), Some(1));
    assert_eq!(archived.get(Path::new(&odd_name())).map(|value| value.to_native()), Some(2));
}

/// A small generator of numbers: the same on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Damages bytes of a valid message in many ways; each is refused, or decodes into some value, and nothing else happens.
fn damage<T: Message>(value: &T, rounds: usize) {
    let memory = Stingy::new(1 << 16, 0);
    let slot = memory.slot();
    // SAFETY: the slot was just made for this.
    unsafe { Encoder::new(Box::new(memory.clone())).put(value, slot) }.expect("encodes");
    let (range, used) = (memory.0.borrow().range(), memory.0.borrow().used);
    let intact = memory.0.borrow().bytes.clone();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..rounds {
        for _ in 0..1 + numbers.next() % 3 {
            // Mostly in the slot, where the pointers and lengths are.
            let at = if numbers.next().is_multiple_of(2) {
                (numbers.next() as usize) % size_of::<T::Archived>().max(1)
            } else {
                (numbers.next() as usize) % used
            };
            let byte = match numbers.next() % 4 {
                0 => 0,
                1 => 0xff,
                _ => numbers.next() as u8,
            };
            // SAFETY: `at < used`, within the mapping.
            unsafe { slot.add(at).write(byte) };
        }
        // SAFETY: the mapping is readable and nobody changes it during the calls.
        match unsafe { validate::<T>(slot, std::slice::from_ref(&range)) } {
            Err(_) => refused += 1,
            Ok(()) => {
                accepted += 1;
                // SAFETY: validated just now.
                drop(unsafe { decode::<T>(slot) });
            }
        }
        // SAFETY: both are this long.
        unsafe { std::ptr::copy_nonoverlapping(intact.as_ptr().cast(), slot, used) };
    }
    assert!(refused > 0 && refused + accepted == rounds, "{refused} refused, {accepted} accepted");
}

#[test]
fn damaged_bytes_are_refused_or_harmless() {
    let rounds = if cfg!(miri) { 50 } else { 20_000 };
    damage(&page(3), rounds);
    damage(&"a string that is stored out of line".to_string(), rounds);
    damage(&vec![vec![1u64, 2, 3], vec![], vec![4]], rounds);
    damage(&(0..20).map(|n| (n.to_string(), n)).collect::<HashMap<String, u64>>(), rounds);
    damage(&(0..20).map(|n| (n, n.to_string())).collect::<BTreeMap<u64, String>>(), rounds);
    let shared = Arc::new("shared".repeat(9));
    damage(&(shared.clone(), vec![Some(shared)], Arc::<[String]>::from(["x".to_string()])), rounds);
    let json = Json::Object { fields: BTreeMap::from([("k".into(), Json::Null)]), boxed: Some(Box::new(Json::Null)) };
    damage(&Json::List(vec![json.clone(), json]), rounds);
    damage(&(Duration::from_secs(1), SystemTime::now(), 'x', true, Some(NonZeroU8::MIN)), rounds);
}

#[test]
fn slots_and_data_outside_of_the_ranges_are_refused() {
    let memory = Stingy::new(1 << 14, 0);
    let slot = memory.slot();
    // SAFETY: the slot was just made for this.
    unsafe { Encoder::new(Box::new(memory.clone())).put(&"text ".repeat(30), slot) }.expect("encodes");
    let whole = memory.0.borrow().range();
    let root = whole.start..whole.start + 256;
    // SAFETY: the mapping is readable; the ranges lie within it.
    unsafe {
        assert!(validate::<String>(slot, &[]).is_err());
        assert!(validate::<String>(slot, std::slice::from_ref(&root)).is_err());
        assert!(validate::<String>(slot.add(1), std::slice::from_ref(&whole)).is_err());
        assert_eq!(validate::<String>(slot, &[root.clone(), root.end..whole.end]), Ok(()));
    }
}
