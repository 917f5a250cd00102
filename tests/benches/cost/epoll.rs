//! A floor for threads: an epoll instance for each processor, and connections dealt out in turn. Nothing is shared
//! but the keys, so that what a second thread costs here is the machine's.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::Outcome;
use crate::floor::{Keys, Talk};

/// Most reports that are taken at once.
const REPORTS: usize = 256;

/// One thread's connections.
struct Share {
    epoll: OwnedFd,
    talks: Mutex<HashMap<u64, (TcpStream, Talk)>>,
}

/// Serves what `listener` accepts until it fails, without TLS.
pub(crate) fn run(listener: &TcpListener, keys: &'static Keys) -> Outcome<()> {
    let mut shares = Vec::new();
    for _ in 0..thread::available_parallelism()?.get() {
        let share = Arc::new(Share {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            talks: Mutex::default(),
        });
        shares.push(Arc::clone(&share));
        thread::spawn(move || share.serve(keys));
    }
    for (token, share) in (0..).zip(shares.iter().cycle()) {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let event = EventData::new_u64(token);
        let mut talks = share.talks.lock().unwrap_or_else(PoisonError::into_inner);
        epoll::add(&share.epoll, &stream, event, EventFlags::IN)?;
        talks.insert(token, (stream, Talk::new()));
    }
    Ok(())
}

impl Share {
    fn serve(&self, keys: &Keys) -> io::Result<()> {
        let (mut reports, mut out) = (Vec::with_capacity(REPORTS), Vec::new());
        loop {
            epoll::wait(&self.epoll, spare_capacity(&mut reports), None)?;
            let mut talks = self.talks.lock().unwrap_or_else(PoisonError::into_inner);
            for report in reports.drain(..) {
                let token = report.data.u64();
                let Some((stream, talk)) = talks.get_mut(&token) else {
                    continue;
                };
                let length = stream.read(talk.room()).unwrap_or_default();
                let goes_on = talk.take(length, keys, &mut out);
                // It trusts that the operating system takes everything at once.
                let sent = out.is_empty() || stream.write_all(&out).is_ok();
                out.clear();
                if !goes_on || !sent {
                    talks.remove(&token);
                }
            }
        }
    }
}
