//! The conversation: one question at a time, each answered before the next is asked.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::super::{Fault, Line};
use super::ber::Inbox;
use super::message::{Answer, Entry, Message, Request, ResultCode, Search};
use super::{Directory, User, Verdict};
use crate::config::ldap::Filling;
use crate::leg::LegEvent;
use crate::secret::Secret;

/// How many entries are asked for when there must be exactly one.
const HITS: u32 = 2;

/// The most groups of one user.
pub(super) const GROUPS: usize = 1000;

/// The most bytes of the names of one user's groups.
pub(super) const GROUP_BYTES: usize = 64 * 1024;

/// One login at a directory.
pub(crate) struct Talk {
    directory: Arc<Directory>,
    user: String,
    password: Secret<Vec<u8>>,
    inbox: Inbox,
    /// The number of the last request.
    asked: u32,
    state: State,
    /// Who was found, once that is certain.
    found: Found,
    groups: BTreeSet<String>,
    group_bytes: usize,
}

#[derive(Default)]
struct Found {
    dn: String,
    name: String,
}

/// What the next answer is about.
enum State {
    /// Nothing: the leg is not open yet.
    Opening,
    StartTls,
    /// Nothing: the TLS handshake is under way.
    Securing,
    Bind(Who),
    /// The user's entry, and what was found of it so far.
    Find(Option<Found>),
    Groups,
    Over,
}

/// Who binds.
#[derive(Clone, Copy)]
enum Who {
    Account,
    User,
    /// The account once more: it may see groups that the user may not see.
    AccountAgain,
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk")
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

impl Talk {
    pub(super) fn new(directory: Arc<Directory>, user: String, password: Secret<Vec<u8>>) -> Self {
        Self {
            directory,
            user,
            password,
            inbox: Inbox::default(),
            asked: 0,
            state: State::Opening,
            found: Found::default(),
            groups: BTreeSet::new(),
            group_bytes: 0,
        }
    }

    /// Takes in what happened on the leg; some as soon as the verdict is found or cannot be found.
    pub(crate) fn hear(
        &mut self,
        line: &mut Line<'_>,
        event: LegEvent<'_>,
    ) -> Option<Result<Verdict, Fault>> {
        let outcome = self.go_on(line, event).transpose()?;
        self.state = State::Over;
        if outcome.is_ok() {
            self.ask(line, |_| Request::Unbind);
        }
        Some(outcome)
    }

    /// Returns how many bytes are kept of what the directory has said.
    pub(super) fn held(&self) -> usize {
        self.inbox.held() + self.group_bytes + self.found.dn.len() + self.found.name.len()
    }

    fn go_on(&mut self, line: &mut Line<'_>, event: LegEvent<'_>) -> Result<Option<Verdict>, Fault> {
        match (&self.state, event) {
            (State::Over, _) => Ok(None),
            (State::Opening, LegEvent::Opened(_)) => {
                if self.directory.start_tls.is_some() {
                    self.state = State::StartTls;
                    self.ask(line, |_| Request::StartTls);
                } else {
                    self.begin(line);
                }
                Ok(None)
            }
            (State::Securing, LegEvent::Secured(_)) => {
                self.begin(line);
                Ok(None)
            }
            // Before the handshake is over, anybody on the way may have said this.
            (State::Opening | State::Securing, LegEvent::Data(_)) => Err(Fault::Unusable),
            (_, LegEvent::Data(bytes)) => self.read(line, bytes),
            (_, LegEvent::Opened(_) | LegEvent::Secured(_)) => Ok(None),
            (_, LegEvent::Failed(_) | LegEvent::Broken(_) | LegEvent::Eof) => Err(Fault::Unreachable),
        }
    }

    fn read(&mut self, line: &mut Line<'_>, bytes: &[u8]) -> Result<Option<Verdict>, Fault> {
        self.inbox.push(bytes)?;
        while let Some(tag) = self.inbox.next()? {
            let Message { id, answer } = Message::read(tag)?;
            if matches!(answer, Answer::Disconnection) {
                return Err(Fault::Unreachable);
            }
            if id != self.asked {
                return Err(Fault::Unusable);
            }
            let verdict = self.take(line, answer)?;
            if verdict.is_some() {
                return Ok(verdict);
            }
            let another = self.asked != id || matches!(self.state, State::Securing);
            // What is here already was said before the question could be heard, or, after StartTLS,
            // in plain text by anybody.
            if another && !self.inbox.is_empty() {
                return Err(Fault::Unusable);
            }
        }
        Ok(None)
    }

    /// Takes in the answer to the last request.
    fn take(&mut self, line: &mut Line<'_>, answer: Answer) -> Result<Option<Verdict>, Fault> {
        match (&mut self.state, answer) {
            (State::StartTls, Answer::Extended(code)) => {
                // Never on in plain text after a refusal: whoever is on the way could say it.
                let tls = self.directory.start_tls.clone().ok_or(Fault::Unusable)?;
                succeeded(code)?;
                self.state = State::Securing;
                line.secure(tls);
                Ok(None)
            }
            (State::Bind(who), Answer::Bind(code)) => match who {
                Who::Account => {
                    succeeded(code)?;
                    self.find(line);
                    Ok(None)
                }
                Who::User if code.refuses_the_user() => Ok(Some(Verdict::WrongPassword)),
                Who::User => {
                    succeeded(code)?;
                    Ok(self.after_bind(line))
                }
                Who::AccountAgain => {
                    succeeded(code)?;
                    self.look_up_groups(line);
                    Ok(None)
                }
            },
            (State::Find(Some(_)), Answer::Entry(_)) => Ok(Some(Verdict::Ambiguous)),
            (State::Find(found @ None), Answer::Entry(entry)) => {
                // A bind without a name is an anonymous one, whatever the password is.
                if entry.dn.is_empty() {
                    return Err(Fault::Unusable);
                }
                *found = Some(Found {
                    name: name_of(&self.directory, &entry, &self.user),
                    dn: entry.dn,
                });
                Ok(None)
            }
            (State::Find(found), Answer::SearchDone(code)) => {
                if code == ResultCode::SIZE_LIMIT_EXCEEDED {
                    return Ok(Some(Verdict::Ambiguous));
                }
                succeeded(code)?;
                let Some(found) = found.take() else {
                    return Ok(Some(Verdict::UnknownUser));
                };
                self.found = found;
                self.bind(line, Who::User);
                Ok(None)
            }
            (State::Groups, Answer::Entry(entry)) => {
                self.add_groups(&entry)?;
                Ok(None)
            }
            (State::Groups, Answer::SearchDone(code)) => {
                // With a size limit exceeded, too: which groups are missing decides what is granted.
                succeeded(code)?;
                Ok(Some(self.good()))
            }
            // A reference says that the answer is not complete, and leads where no configuration does.
            (
                State::Opening
                | State::StartTls
                | State::Securing
                | State::Bind(_)
                | State::Find(_)
                | State::Groups
                | State::Over,
                Answer::Bind(_)
                | Answer::Entry(_)
                | Answer::Reference
                | Answer::SearchDone(_)
                | Answer::Extended(_)
                | Answer::Disconnection,
            ) => Err(Fault::Unusable),
        }
    }

    /// Asks the first question that needs the stream to be as safe as it gets.
    fn begin(&mut self, line: &mut Line<'_>) {
        match self.directory.account {
            Some(_) => self.bind(line, Who::Account),
            None => self.find(line),
        }
    }

    fn bind(&mut self, line: &mut Line<'_>, who: Who) {
        self.state = State::Bind(who);
        self.ask(line, |talk| match (who, &talk.directory.account) {
            (Who::Account | Who::AccountAgain, Some(account)) => Request::Bind {
                dn: &account.dn,
                password: &account.password,
            },
            (Who::User, _) | (_, None) => Request::Bind {
                dn: &talk.found.dn,
                password: &talk.password,
            },
        });
    }

    fn find(&mut self, line: &mut Line<'_>) {
        self.state = State::Find(None);
        self.ask(line, |talk| {
            let directory = &talk.directory;
            Request::Search(Search {
                base: &directory.base,
                filter: &directory.user_filter,
                filling: talk.filling(),
                attribute: directory.user_filter.name_attribute(),
                entries: HITS,
                seconds: directory.seconds(),
            })
        });
    }

    fn after_bind(&mut self, line: &mut Line<'_>) -> Option<Verdict> {
        match (&self.directory.groups, &self.directory.account) {
            (None, _) => return Some(self.good()),
            (Some(_), Some(_)) => self.bind(line, Who::AccountAgain),
            (Some(_), None) => self.look_up_groups(line),
        }
        None
    }

    fn look_up_groups(&mut self, line: &mut Line<'_>) {
        self.state = State::Groups;
        self.ask(line, |talk| match &talk.directory.groups {
            Some(groups) => Request::Search(Search {
                base: &groups.base,
                filter: &groups.filter,
                filling: talk.filling(),
                attribute: Some(&groups.attribute),
                entries: u32::try_from(GROUPS).unwrap_or(u32::MAX),
                seconds: talk.directory.seconds(),
            }),
            // Nobody comes here without: see `after_bind`.
            None => Request::Unbind,
        });
    }

    fn add_groups(&mut self, entry: &Entry) -> Result<(), Fault> {
        let Some(search) = &self.directory.groups else {
            return Err(Fault::Unusable);
        };
        for name in entry.texts(&search.attribute) {
            // A role has a name without control characters, as in the configuration.
            if name.is_empty() || name.contains(char::is_control) || self.groups.contains(name) {
                continue;
            }
            self.group_bytes += name.len();
            if self.groups.len() >= GROUPS || self.group_bytes > GROUP_BYTES {
                return Err(Fault::Unusable);
            }
            self.groups.insert(name.to_owned());
        }
        Ok(())
    }

    fn good(&mut self) -> Verdict {
        let Found { dn, name } = std::mem::take(&mut self.found);
        let groups = std::mem::take(&mut self.groups).into_iter().collect();
        Verdict::Good(User { dn, name, groups })
    }

    fn filling(&self) -> Filling<'_> {
        Filling {
            username: &self.user,
            dn: &self.found.dn,
        }
    }

    fn ask(&mut self, line: &mut Line<'_>, request: impl FnOnce(&Self) -> Request<'_>) {
        self.asked += 1;
        line.write(request(self).written(self.asked).expose());
    }
}

impl Directory {
    /// How long the server may search, in whole seconds; whoever asks gives up after the same time.
    fn seconds(&self) -> u32 {
        let seconds = self.timeout.as_millis().div_ceil(1000);
        u32::try_from(seconds).map_or(MAX_INT, |seconds| seconds.min(MAX_INT))
    }
}

/// The largest number that LDAP sends, RFC 4511 section 4.1.1.
const MAX_INT: u32 = 0x7fff_ffff;

fn succeeded(code: ResultCode) -> Result<(), Fault> {
    match code == ResultCode::SUCCESS {
        true => Ok(()),
        false => Err(Fault::Unusable),
    }
}

/// Returns the name of the user whose entry this is. Directories ignore case and blanks, but who is
/// revoked as `alice` must not come back as `ALICE`: the entry's own spelling counts, if it shows it.
fn name_of(directory: &Directory, entry: &Entry, typed: &str) -> String {
    let Some(attribute) = directory.user_filter.name_attribute() else {
        return typed.to_owned();
    };
    let folded = |name: &str| -> String {
        name.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_lowercase()
    };
    let wanted = folded(typed);
    let mut names: Vec<_> = entry.texts(attribute).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let same = names.iter().find(|name| folded(name) == wanted);
    // Found by another attribute, such as a mail address: one entry is one user all the same.
    let name = same.or_else(|| names.first());
    name.map_or_else(|| typed.to_owned(), |name| (*name).to_owned())
}
