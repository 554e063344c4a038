//! The calls of the MPI library, each with its return code checked.
//!
//! `rsmpi`'s own safe calls drop return codes, so only its bindings are used. Invariants: MPI is initialised before and not finalized during any call
//! here ([`crate::env`] sees to both, and to all calls being made by one thread at a time); communicators and requests are those that the library gave.
#![allow(unsafe_code)]

use std::os::raw::{c_int, c_void};
use std::ptr;

use mpi::ffi;

use crate::{MpiError, Result};

pub(crate) use ffi::MPI_Comm as RawComm;

/// Longer pieces are cut: MPI counts in `int`.
pub(crate) const PIECE: usize = 1 << 30;

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) source: c_int,
    pub(crate) tag: c_int,
    pub(crate) len: usize,
}

/// Turns a return code into a result.
pub(crate) fn check(call: &'static str, code: c_int) -> Result<()> {
    if code == ffi::MPI_SUCCESS as c_int {
        return Ok(());
    }
    let mut text = vec![0u8; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut len = 0;
    // SAFETY: the buffer is as long as the library's longest text.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut len) };
    text.truncate(len.max(0) as usize);
    Err(MpiError::Call { call, text: String::from_utf8_lossy(&text).into_owned() })
}

fn count(len: usize) -> Result<c_int> {
    c_int::try_from(len).map_err(|_| MpiError::InvalidInput(format!("a piece of {len} bytes at once")))
}

fn byte() -> ffi::MPI_Datatype {
    // SAFETY: a constant of the library.
    unsafe { ffi::RSMPI_UINT8_T }
}

pub(crate) fn any_source() -> c_int {
    // SAFETY: a constant of the library.
    unsafe { ffi::RSMPI_ANY_SOURCE }
}

pub(crate) fn any_tag() -> c_int {
    // SAFETY: a constant of the library.
    unsafe { ffi::RSMPI_ANY_TAG }
}

fn found(status: &ffi::MPI_Status) -> Result<Found> {
    let mut len = 0;
    // SAFETY: a status that the library filled in.
    check("MPI_Get_count", unsafe { ffi::MPI_Get_count(status, byte(), &mut len) })?;
    Ok(Found { source: status.MPI_SOURCE, tag: status.MPI_TAG, len: len.max(0) as usize })
}

fn empty_status() -> ffi::MPI_Status {
    // SAFETY: a plain struct of numbers, which the library fills in.
    unsafe { std::mem::zeroed() }
}

pub(crate) fn init() -> Result<c_int> {
    let mut provided = 0;
    // SAFETY: no arguments are passed; asked for calls of one thread at a time.
    let code =
        unsafe { ffi::MPI_Init_thread(ptr::null_mut(), ptr::null_mut(), ffi::RSMPI_THREAD_SERIALIZED, &mut provided) };
    check("MPI_Init_thread", code)?;
    // Errors are returned, not fatal: `check` sees them.
    // SAFETY: constants of the library, after its initialisation.
    unsafe {
        check(
            "MPI_Comm_set_errhandler",
            ffi::MPI_Comm_set_errhandler(ffi::RSMPI_COMM_WORLD, ffi::RSMPI_ERRORS_RETURN),
        )?;
        check("MPI_Comm_set_errhandler", ffi::MPI_Comm_set_errhandler(ffi::RSMPI_COMM_SELF, ffi::RSMPI_ERRORS_RETURN))?;
    }
    Ok(provided)
}

pub(crate) fn is_initialized() -> bool {
    let mut flag = 0;
    // SAFETY: may be called at any time.
    unsafe { ffi::MPI_Initialized(&mut flag) == 0 && flag != 0 }
}

pub(crate) fn is_finalized() -> bool {
    let mut flag = 0;
    // SAFETY: may be called at any time.
    unsafe { ffi::MPI_Finalized(&mut flag) == 0 && flag != 0 }
}

pub(crate) fn finalize() {
    // SAFETY: called once, at the end, by the only thread that is left.
    unsafe { ffi::MPI_Finalize() };
}

pub(crate) fn abort(code: i32) -> ! {
    // SAFETY: ends the job; a constant of the library.
    unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    std::process::abort()
}

pub(crate) fn world() -> RawComm {
    // SAFETY: a constant of the library.
    unsafe { ffi::RSMPI_COMM_WORLD }
}

pub(crate) fn rank(comm: RawComm) -> Result<i32> {
    let mut rank = 0;
    // SAFETY: the module's invariants.
    check("MPI_Comm_rank", unsafe { ffi::MPI_Comm_rank(comm, &mut rank) })?;
    Ok(rank)
}

pub(crate) fn size(comm: RawComm) -> Result<i32> {
    let mut size = 0;
    // SAFETY: the module's invariants.
    check("MPI_Comm_size", unsafe { ffi::MPI_Comm_size(comm, &mut size) })?;
    Ok(size)
}

pub(crate) fn dup(comm: RawComm) -> Result<RawComm> {
    let mut made = world();
    // SAFETY: the module's invariants.
    check("MPI_Comm_dup", unsafe { ffi::MPI_Comm_dup(comm, &mut made) })?;
    Ok(made)
}

/// A communicator of those with the same color; `None` for a rank without one.
pub(crate) fn split(comm: RawComm, color: Option<i32>, key: i32) -> Result<Option<RawComm>> {
    // SAFETY: a constant of the library.
    let undefined = unsafe { ffi::RSMPI_UNDEFINED };
    let mut made = world();
    // SAFETY: the module's invariants.
    check("MPI_Comm_split", unsafe { ffi::MPI_Comm_split(comm, color.unwrap_or(undefined), key, &mut made) })?;
    Ok(color.map(|_| made))
}

pub(crate) fn free(mut comm: RawComm) {
    // SAFETY: made by `dup` or `split`, and not used any more. A refusal would leak it, no more.
    unsafe { ffi::MPI_Comm_free(&mut comm) };
}

pub(crate) fn send(comm: RawComm, bytes: &[u8], to: i32, tag: i32) -> Result<()> {
    // SAFETY: the bytes are borrowed until the call returns.
    check("MPI_Send", unsafe { ffi::MPI_Send(bytes.as_ptr().cast(), count(bytes.len())?, byte(), to, tag, comm) })
}

/// Waits for a message and receives it into memory that `room` gives for its length.
pub(crate) fn receive<'a>(
    comm: RawComm,
    from: i32,
    tag: i32,
    room: impl FnOnce(usize) -> Result<&'a mut [u8]>,
) -> Result<Found> {
    let mut status = empty_status();
    // SAFETY: constants of the library.
    let mut message = unsafe { ffi::RSMPI_MESSAGE_NULL };
    // SAFETY: the module's invariants.
    check("MPI_Mprobe", unsafe { ffi::MPI_Mprobe(from, tag, comm, &mut message, &mut status) })?;
    matched(message, &status, room)
}

/// As [`receive`], if a message is there.
pub(crate) fn try_receive<'a>(
    comm: RawComm,
    from: i32,
    tag: i32,
    room: impl FnOnce(usize) -> Result<&'a mut [u8]>,
) -> Result<Option<Found>> {
    let mut status = empty_status();
    let mut flag = 0;
    // SAFETY: constants of the library.
    let mut message = unsafe { ffi::RSMPI_MESSAGE_NULL };
    // SAFETY: the module's invariants.
    check("MPI_Improbe", unsafe { ffi::MPI_Improbe(from, tag, comm, &mut flag, &mut message, &mut status) })?;
    if flag == 0 { Ok(None) } else { matched(message, &status, room).map(Some) }
}

fn matched<'a>(
    mut message: ffi::MPI_Message,
    status: &ffi::MPI_Status,
    room: impl FnOnce(usize) -> Result<&'a mut [u8]>,
) -> Result<Found> {
    let found = found(status)?;
    let bytes = room(found.len)?;
    if bytes.len() < found.len {
        return Err(MpiError::InvalidInput(format!(
            "a message of {} bytes into a buffer of {}",
            found.len,
            bytes.len()
        )));
    }
    // SAFETY: the bytes are borrowed until the call returns, and as many as the message has.
    let code = unsafe {
        let ignore = ffi::RSMPI_STATUS_IGNORE;
        ffi::MPI_Mrecv(bytes.as_mut_ptr().cast(), count(found.len)?, byte(), &mut message, ignore)
    };
    check("MPI_Mrecv", code)?;
    Ok(found)
}

pub(crate) fn probe(comm: RawComm, from: i32, tag: i32) -> Result<Found> {
    let mut status = empty_status();
    // SAFETY: the module's invariants.
    check("MPI_Probe", unsafe { ffi::MPI_Probe(from, tag, comm, &mut status) })?;
    found(&status)
}

pub(crate) fn try_probe(comm: RawComm, from: i32, tag: i32) -> Result<Option<Found>> {
    let mut status = empty_status();
    let mut flag = 0;
    // SAFETY: the module's invariants.
    check("MPI_Iprobe", unsafe { ffi::MPI_Iprobe(from, tag, comm, &mut flag, &mut status) })?;
    if flag == 0 { Ok(None) } else { found(&status).map(Some) }
}

/// A send under way.
#[derive(Debug)]
pub(crate) struct Sending(ffi::MPI_Request);

impl Sending {
    /// Begins to send.
    ///
    /// # Safety
    /// The bytes stay where they are, unchanged, until [`is_done`](Self::is_done) has said so.
    pub(crate) unsafe fn begin(comm: RawComm, bytes: &[u8], to: i32, tag: i32) -> Result<Sending> {
        // SAFETY: constants of the library.
        let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
        let len = count(bytes.len())?;
        // SAFETY: the caller's promise.
        let code = unsafe { ffi::MPI_Isend(bytes.as_ptr().cast(), len, byte(), to, tag, comm, &mut request) };
        check("MPI_Isend", code)?;
        Ok(Sending(request))
    }

    /// Is the memory free again?
    pub(crate) fn is_done(&mut self) -> Result<bool> {
        let mut flag = 0;
        // SAFETY: the request is the library's; once done it becomes the null request, which is done.
        let code = unsafe { ffi::MPI_Test(&mut self.0, &mut flag, ffi::RSMPI_STATUS_IGNORE) };
        check("MPI_Test", code)?;
        Ok(flag != 0)
    }

    /// Waits until the memory is free again.
    pub(crate) fn wait(&mut self) -> Result<()> {
        // SAFETY: as in `is_done`.
        check("MPI_Wait", unsafe { ffi::MPI_Wait(&mut self.0, ffi::RSMPI_STATUS_IGNORE) })
    }
}

pub(crate) fn barrier(comm: RawComm) -> Result<()> {
    // SAFETY: the module's invariants.
    check("MPI_Barrier", unsafe { ffi::MPI_Barrier(comm) })
}

/// Makes `bytes` on all ranks what they are on `root`; they have the same length everywhere.
pub(crate) fn broadcast(comm: RawComm, bytes: &mut [u8], root: i32) -> Result<()> {
    for piece in bytes.chunks_mut(PIECE) {
        // SAFETY: the bytes are borrowed until the call returns.
        let code = unsafe { ffi::MPI_Bcast(piece.as_mut_ptr().cast(), count(piece.len())?, byte(), root, comm) };
        check("MPI_Bcast", code)?;
    }
    Ok(())
}

/// A type of numbers that the library can add and compare.
///
/// # Safety
/// `datatype` is the library's name of exactly this type.
pub unsafe trait Scalar: offspring::Plain {
    // Not public API.
    #[doc(hidden)]
    fn datatype() -> RawDatatype;
}

/// The library's name of a type.
// Not public API.
#[derive(Debug, Clone, Copy)]
pub struct RawDatatype(ffi::MPI_Datatype);

macro_rules! scalars {
    ($($type:ty = $name:ident,)*) => {$(
        // SAFETY: the bindings' constant for this type.
        unsafe impl Scalar for $type {
            fn datatype() -> RawDatatype {
                // SAFETY: a constant of the library.
                RawDatatype(unsafe { ffi::$name })
            }
        }
    )*};
}

scalars! {
    u8 = RSMPI_UINT8_T, u16 = RSMPI_UINT16_T, u32 = RSMPI_UINT32_T, u64 = RSMPI_UINT64_T,
    i8 = RSMPI_INT8_T, i16 = RSMPI_INT16_T, i32 = RSMPI_INT32_T, i64 = RSMPI_INT64_T,
    f32 = RSMPI_FLOAT, f64 = RSMPI_DOUBLE,
}

/// What numbers are combined by.
#[doc(alias = "SUM")]
#[doc(alias = "PROD")]
#[doc(alias = "MAX")]
#[doc(alias = "MIN")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Their sum.
    Sum,
    /// Their product.
    Product,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl Op {
    fn raw(self) -> ffi::MPI_Op {
        // SAFETY: constants of the library.
        unsafe {
            match self {
                Op::Sum => ffi::RSMPI_SUM,
                Op::Product => ffi::RSMPI_PROD,
                Op::Min => ffi::RSMPI_MIN,
                Op::Max => ffi::RSMPI_MAX,
            }
        }
    }
}

/// Numbers combined over all ranks, element by element, into `to` on each rank.
pub(crate) fn all_reduce<T: Scalar>(comm: RawComm, from: &[T], to: &mut [T], op: Op) -> Result<()> {
    let most = PIECE / size_of::<T>().max(1);
    for (from, to) in from.chunks(most).zip(to.chunks_mut(most)) {
        let len = count(from.len())?;
        // SAFETY: both are of this length and type, and borrowed until the call returns.
        let code = unsafe {
            let (from, to) = (from.as_ptr().cast(), to.as_mut_ptr().cast());
            ffi::MPI_Allreduce(from, to, len, T::datatype().0, op.raw(), comm)
        };
        check("MPI_Allreduce", code)?;
    }
    Ok(())
}

/// As [`all_reduce`], into `to` on `root` only.
pub(crate) fn reduce<T: Scalar>(comm: RawComm, from: &[T], to: Option<&mut [T]>, op: Op, root: i32) -> Result<()> {
    let most = PIECE / size_of::<T>().max(1);
    let mut to = to.map(|to| to.chunks_mut(most));
    for from in from.chunks(most) {
        let into: *mut c_void =
            to.as_mut().and_then(Iterator::next).map_or(ptr::null_mut(), |to| to.as_mut_ptr().cast());
        let len = count(from.len())?;
        // SAFETY: as in `all_reduce`; the result is looked at on the root alone, where it is there.
        let code = unsafe { ffi::MPI_Reduce(from.as_ptr().cast(), into, len, T::datatype().0, op.raw(), root, comm) };
        check("MPI_Reduce", code)?;
    }
    Ok(())
}

pub(crate) fn host() -> String {
    let mut name = vec![0u8; ffi::MPI_MAX_PROCESSOR_NAME as usize + 1];
    let mut len = 0;
    // SAFETY: the buffer is as long as the library's longest name.
    unsafe { ffi::MPI_Get_processor_name(name.as_mut_ptr().cast(), &mut len) };
    name.truncate(len.max(0) as usize);
    String::from_utf8_lossy(&name).into_owned()
}
