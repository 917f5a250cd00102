//! One connection to Redis: it logs in, and from then on answers come in the order of the commands.

mod frame;

use std::fmt;
use std::sync::Arc;

pub use frame::{NotRedis, Reply, length, take, write_command};

use super::{Fault, Line};
use crate::leg::LegEvent;
use crate::secret::Secret;

/// Who logs in, and to what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    /// The ACL user; the one that Redis calls `default` otherwise.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret<Vec<u8>>>,
    /// The number of the database.
    pub(crate) database: u16,
}

/// A connection to Redis.
pub(crate) struct Wire {
    login: Arc<Login>,
    /// Answers to the login that are still to come; `None` before the stream is open.
    owed: Option<usize>,
    read: Vec<u8>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("owed", &self.owed)
            .field("read", &self.read.len())
            .finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) const fn new(login: Arc<Login>) -> Self {
        Self {
            login,
            owed: None,
            read: Vec::new(),
        }
    }

    /// Says whether commands may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.owed == Some(0)
    }

    /// Takes in what happened on the leg.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn hear(&mut self, line: &mut Line<'_>, event: LegEvent<'_>) -> Result<(), Fault> {
        match event {
            LegEvent::Opened(_) => {
                self.log_in(line);
                Ok(())
            }
            LegEvent::Data(bytes) => {
                self.read.extend_from_slice(bytes);
                Ok(())
            }
            LegEvent::Secured(_) => Ok(()),
            LegEvent::Failed(_) | LegEvent::Eof | LegEvent::Broken(_) => Err(Fault::Unreachable),
        }
    }

    fn log_in(&mut self, line: &mut Line<'_>) {
        let mut owed = 0;
        let login = Arc::clone(&self.login);
        if let Some(password) = &login.password {
            let password = password.expose().as_slice();
            match &login.user {
                Some(user) => send(line, &[b"AUTH", user.as_bytes(), password]),
                None => send(line, &[b"AUTH", password]),
            }
            owed += 1;
        }
        if login.database != 0 {
            send(line, &[b"SELECT", login.database.to_string().as_bytes()]);
            owed += 1;
        }
        self.owed = Some(owed);
    }

    /// Returns the next answer to a command.
    ///
    /// # Errors
    /// What arrived is not of the protocol, or the login was refused.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, Fault> {
        while let Some(owed) = self.owed
            && let Some(reply) = take(&mut self.read).map_err(|NotRedis| Fault::Unusable)?
        {
            if owed == 0 {
                return Ok(Some(reply));
            }
            if reply != Reply::Simple(b"OK".to_vec()) {
                return Err(Fault::Unusable);
            }
            self.owed = Some(owed - 1);
        }
        Ok(None)
    }
}

/// Sends one command.
pub(crate) fn send(line: &mut Line<'_>, words: &[&[u8]]) {
    let mut command = zeroize::Zeroizing::new(Vec::new());
    write_command(&mut command, words);
    line.write(&command);
}
