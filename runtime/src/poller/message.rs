//! Messages: several buffers in one call, and datagrams with an address.

use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::{SockAddr, SockAddrStorage};

use super::operate::Call;
use super::source::Source;
use super::sys;

impl Source {
    /// Receives into several buffers, in order. Of more than 1,024 only the
    /// first 1,024 are used.
    ///
    /// # Errors
    ///
    /// Those of `recvmsg(2)`, and the deadline's.
    pub fn recv_vectored(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        flags: i32,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let mut message = Message::incoming(bufs);
        self.recv_message(&mut message, flags, deadline)
    }

    /// Sends from several buffers, in order. Of more than 1,024 only the first
    /// 1,024 are used.
    ///
    /// # Errors
    ///
    /// Those of `sendmsg(2)`, and the deadline's.
    pub fn send_vectored(
        &self,
        bufs: &[IoSlice<'_>],
        flags: i32,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        self.send_message(&Message::outgoing(bufs), flags, deadline)
    }

    /// Receives a datagram and tells who sent it. What does not fit into `buf`
    /// is lost.
    ///
    /// # Errors
    ///
    /// Those of `recvmsg(2)`, and the deadline's.
    pub fn recv_from(
        &self,
        buf: &mut [u8],
        flags: i32,
        deadline: Option<Instant>,
    ) -> io::Result<(usize, SockAddr)> {
        let mut bufs = [IoSliceMut::new(buf)];
        let mut storage = SockAddrStorage::zeroed();
        let mut message = Message::incoming(&mut bufs).with_sender(&mut storage);
        let got = self.recv_message(&mut message, flags, deadline)?;
        let len = message.address_len();
        // SAFETY: the kernel has filled in so much of the address.
        Ok((got, unsafe { SockAddr::new(storage, len) }))
    }

    /// Sends a datagram to an address. Where that is a unix socket's with a full
    /// queue, it looks once a millisecond whether there is room.
    ///
    /// # Errors
    ///
    /// Those of `sendmsg(2)`, and the deadline's.
    pub fn send_to(
        &self,
        buf: &[u8],
        addr: &SockAddr,
        flags: i32,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let bufs = [IoSlice::new(buf)];
        let message = Message::outgoing(&bufs).with_receiver(addr);
        if addr.is_unix() {
            let call = Call::send(flags, message.len())?;
            return self.try_or_nap(call, deadline, |more| {
                // SAFETY: it uses what the message points to, which it borrows.
                unsafe { sys::sendmsg(self.as_raw_fd(), message.as_ptr(), call.flags | more) }
            });
        }
        self.send_message(&message, flags, deadline)
    }

    fn recv_message(
        &self,
        message: &mut Message<'_>,
        flags: i32,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let call = Call::receive(flags, message.len())?;
        let (fd, at) = (self.as_raw_fd(), message.as_mut_ptr());
        let entry = || {
            opcode::RecvMsg::new(Fd(fd), at)
                .flags(call.flags as u32)
                .build()
        };
        // SAFETY: both use what the message points to, which it borrows.
        unsafe {
            self.operate(call, deadline, entry, |more| {
                sys::recvmsg(fd, at, call.flags | more)
            })
        }
    }

    fn send_message(
        &self,
        message: &Message<'_>,
        flags: i32,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let call = Call::send(flags, message.len())?;
        let (fd, at) = (self.as_raw_fd(), message.as_ptr());
        let entry = || {
            opcode::SendMsg::new(Fd(fd), at)
                .flags(call.flags as u32)
                .build()
        };
        // SAFETY: both use what the message points to, which it borrows.
        unsafe {
            self.operate(call, deadline, entry, |more| {
                sys::sendmsg(fd, at, call.flags | more)
            })
        }
    }
}

/// The header of `recvmsg` and `sendmsg`, tied to the buffers it points to.
struct Message<'a> {
    header: libc::msghdr,
    len: usize,
    borrowed: PhantomData<&'a mut [u8]>,
}

impl<'a> Message<'a> {
    fn new(bufs: *mut libc::iovec, count: usize, len: usize) -> Self {
        // SAFETY: all zeroes is a message header without parts.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = bufs;
        // The type of the field differs between C libraries.
        header.msg_iovlen = count as _;
        Self {
            header,
            len,
            borrowed: PhantomData,
        }
    }

    fn incoming(bufs: &'a mut [IoSliceMut<'_>]) -> Self {
        let count = bufs.len().min(sys::MAX_BUFFERS);
        let len = bufs[..count].iter().map(|buf| buf.len()).sum();
        // `IoSliceMut` has the layout of `iovec`, by its documentation.
        Self::new(bufs.as_mut_ptr().cast(), count, len)
    }

    /// The header of a message to send; the kernel only reads through it.
    fn outgoing(bufs: &'a [IoSlice<'_>]) -> Self {
        let count = bufs.len().min(sys::MAX_BUFFERS);
        let len = bufs[..count].iter().map(|buf| buf.len()).sum();
        // `IoSlice` has the layout of `iovec`, by its documentation.
        Self::new(bufs.as_ptr().cast_mut().cast(), count, len)
    }

    fn with_sender(mut self, address: &'a mut SockAddrStorage) -> Self {
        self.header.msg_namelen = address.size_of();
        self.header.msg_name = (&raw mut *address).cast();
        self
    }

    fn with_receiver(mut self, address: &'a SockAddr) -> Self {
        self.header.msg_namelen = address.len();
        self.header.msg_name = address.as_ptr().cast_mut().cast();
        self
    }

    /// How many bytes the buffers hold together.
    fn len(&self) -> usize {
        self.len
    }

    /// How much of the address the kernel has filled in.
    fn address_len(&self) -> libc::socklen_t {
        self.header.msg_namelen
    }

    fn as_ptr(&self) -> *const libc::msghdr {
        &raw const self.header
    }

    fn as_mut_ptr(&mut self) -> *mut libc::msghdr {
        &raw mut self.header
    }
}
