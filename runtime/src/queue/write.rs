//! Writing a message for a queue: into private memory while it is short, straight into a block when it is not.
//!
//! Root and data lie in one piece either way, so that a short message can be copied into a record and out of it again. The
//! root lies at the start of the buffer, or of the block.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::mem::size_of;
use std::ptr::NonNull;
use std::rc::Rc;

use super::put::Parcel;
use super::ring::INLINE_MOST;
use crate::ErrorKind;
use crate::arena::refs::Pins;
use crate::arena::{Arena, ArenaError, Block, BlockId, Role};
use crate::message::{Archived, EncodeError, Encoder, Message, Pin, Sink, SinkSpan};

/// Memory of a thread that short messages are written in.
#[repr(C, align(64))]
struct Desk([u8; INLINE_MOST]);

/// What a thread writes messages with.
struct Writer {
    encoder: Encoder,
    blocks: Rc<Blocks>,
    desk: Box<Desk>,
}

/// What the encoder's sink and the writer share.
#[derive(Default)]
struct Blocks {
    arena: Cell<Option<&'static Arena>>,
    /// Bytes at the start of a block that the sink leaves for the root.
    root: Cell<usize>,
    /// The newest has all of the message so far; the others are only left to be freed.
    blocks: RefCell<Vec<Block>>,
    /// What the message refers to.
    pins: RefCell<Vec<(BlockId, Role)>>,
}

struct BlockSink(Rc<Blocks>);

fn refused(error: ArenaError) -> EncodeError {
    EncodeError::new(error.kind(), error.to_string())
}

impl Blocks {
    fn alloc(&self, data: usize) -> Result<NonNull<u8>, EncodeError> {
        let no_memory = || EncodeError::new(ErrorKind::OutOfMemory, "no shared memory");
        let arena = self.arena.get().ok_or_else(no_memory)?;
        let len = self.root.get().checked_add(data).ok_or_else(no_memory)?;
        let block = arena.alloc(len).map_err(refused)?;
        let start = NonNull::new(block.as_ptr()).ok_or_else(no_memory)?;
        self.blocks.borrow_mut().push(block);
        Ok(start)
    }

    fn newest(&self) -> Option<*mut u8> {
        self.blocks.borrow().last().map(Block::as_ptr)
    }
}

impl Sink for BlockSink {
    fn more(&mut self, min: usize) -> Result<SinkSpan, EncodeError> {
        let start = self.0.alloc(min)?;
        let (root, capacity) = (self.0.root.get(), self.0.blocks.borrow().last().map_or(0, Block::capacity));
        // SAFETY: the rest of a fresh block of this process, behind the root's place, which is a multiple of 64 long; it stays
        // until the next message.
        Ok(unsafe { SinkSpan::new(start.add(root), capacity - root) })
    }

    fn pin(&mut self, pin: &Pin) -> Result<(), EncodeError> {
        let refuse = |why| Err(EncodeError::new(ErrorKind::NotSendable, why));
        if self.0.arena.get().is_none_or(|arena| arena.id() != pin.arena()) {
            return refuse("a handle belongs to another family of processes than the one it is sent in");
        }
        let (Some(object), Some(role)) = (BlockId::from_raw(pin.object()), Role::from_raw(pin.role())) else {
            return refuse("no handle");
        };
        let mut pins = self.0.pins.borrow_mut();
        if !pins.contains(&(object, role)) {
            pins.push((object, role));
        }
        Ok(())
    }
}

thread_local! {
    static WRITER: RefCell<Option<Writer>> = const { RefCell::new(None) };
}

impl Writer {
    fn new() -> Writer {
        let blocks = Rc::<Blocks>::default();
        let encoder = Encoder::new(Box::new(BlockSink(Rc::clone(&blocks))));
        Writer { encoder, blocks, desk: Box::new(Desk([0; INLINE_MOST])) }
    }

    fn write<T: Message>(&mut self, arena: &'static Arena, value: &T, whole: bool) -> Result<Parcel<'_>, EncodeError> {
        let root = size_of::<Archived<T>>();
        let blocks = &self.blocks;
        blocks.blocks.borrow_mut().clear();
        blocks.pins.borrow_mut().clear();
        blocks.arena.set(Some(arena));
        blocks.root.set(root.next_multiple_of(64));
        let desk = self.desk.0.as_mut_ptr();
        let room = if root > INLINE_MOST {
            let start = blocks.alloc(0)?.as_ptr();
            let capacity = blocks.blocks.borrow().last().map_or(0, Block::capacity);
            (start.wrapping_add(blocks.root.get().min(capacity)), start.wrapping_add(capacity))
        } else {
            (desk.wrapping_add(root), desk.wrapping_add(INLINE_MOST))
        };
        // A panic may have left something of the message before.
        self.encoder.abandon();
        // SAFETY: the room is the rest of the desk, or of a fresh block, behind the place of the root; both are initialised and
        // nobody else's. The slot is the start of the newest block, where room was left for the root, or, if there is no
        // block, of the desk: aligned to 64, more than any archived form asks for, and in one mapping with the data.
        let end = unsafe { self.encoder.put_at(value, room, || blocks.newest().unwrap_or(desk))? };
        if !whole && blocks.blocks.borrow().is_empty() && blocks.pins.borrow().is_empty() {
            let len = (end as usize).wrapping_sub(desk as usize).min(INLINE_MOST);
            return Ok(Parcel::Inline(&self.desk.0[..len]));
        }
        let mut newest = blocks.blocks.borrow_mut().pop();
        blocks.blocks.borrow_mut().clear();
        let len = if newest.is_some() { 0 } else { (end as usize).wrapping_sub(desk as usize).min(INLINE_MOST) };
        let pins = blocks.pins.take();
        if newest.is_none() && (whole || !pins.is_empty()) {
            newest = Some(copy_to_block(arena, &self.desk.0[..len])?);
        }
        Ok(match newest {
            Some(block) => {
                let mut keep = Pins::default();
                for (object, role) in pins {
                    keep.add(arena, block.id(), object, role).map_err(refused)?;
                }
                Parcel::Block(block)
            }
            None => Parcel::Inline(&self.desk.0[..len]),
        })
    }
}

/// A block with a message that is in one piece: where it lies is all the same to it.
fn copy_to_block(arena: &'static Arena, message: &[u8]) -> Result<Block, EncodeError> {
    let block = arena.alloc(message.len()).map_err(refused)?;
    // SAFETY: a fresh block of this process, at least that long.
    unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), block.as_ptr(), message.len()) };
    Ok(block)
}

/// Writes `value`, and does with it what `then` says. With `whole` it lies in a block however short it is.
pub(crate) fn with_parcel<T: Message, R, E: From<EncodeError>>(
    arena: &'static Arena,
    value: &T,
    whole: bool,
    then: impl FnOnce(&mut Parcel<'_>) -> Result<R, E>,
) -> Result<R, E> {
    let mut then = Some(then);
    let used = WRITER.try_with(|writer| {
        // Borrowed already where a value's own code, called while it is written, puts something into a queue.
        let mut writer = writer.try_borrow_mut().ok()?;
        let then = then.take()?;
        let mut parcel = match writer.get_or_insert_with(Writer::new).write(arena, value, whole) {
            Ok(parcel) => parcel,
            Err(error) => return Some(Err(error.into())),
        };
        Some(then(&mut parcel))
    });
    match (used, then) {
        (Ok(Some(done)), _) => done,
        (_, Some(then)) => then(&mut Writer::new().write(arena, value, whole)?),
        (_, None) => Err(EncodeError::new(ErrorKind::Unsupported, "the thread is ending").into()),
    }
}
