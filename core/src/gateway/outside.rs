//! Questions to verifiers elsewhere: who has asked what, and who waits for it.
//!
//! Connections ask, and the one background connection ([`Connection::keeper`]) goes and finds out.
//! Whoever asks what is being asked already waits for the same answer (single flight). Since no
//! client's connection carries the question, none that goes away takes the answer with it.
//!
//! [`Connection::keeper`]: crate::connection::Connection::keeper

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::auth::question::{Answer, Begun, Question};
use crate::auth::verdicts::{Key, Verdicts};
use crate::bell::Bell;
use crate::entropy::Entropy;
use crate::exchange::{Fault, Said};
use crate::time::Now;

/// The questions of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    flights: BTreeMap<Key, Arc<Flight>>,
    /// Questions that nobody has gone to ask yet.
    waiting: VecDeque<(Key, Question)>,
    /// How many questions each verifier has not answered yet.
    open: BTreeMap<[u8; 32], usize>,
    /// Who asks them.
    keeper: Option<Arc<Bell>>,
}

/// One question that is being asked.
#[derive(Debug, Default)]
struct Flight {
    answer: OnceLock<Result<Answer, Fault>>,
    /// Whom to wake when it is there.
    bells: Mutex<Vec<Arc<Bell>>>,
}

/// The answer to a question, now or later.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It is known.
    Now(Result<Answer, Fault>),
    /// It is waited for.
    Later(Waiting),
}

/// A place among those who wait for an answer. Dropping it gives up the place; the question goes on
/// for the others.
pub(crate) struct Waiting {
    flight: Arc<Flight>,
    bell: Arc<Bell>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

impl Waiting {
    /// Returns the answer if it is there.
    pub(crate) fn answer(&self) -> Option<Result<Answer, Fault>> {
        self.flight.answer.get().cloned()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut bells = self.flight.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = bells.iter().position(|bell| Arc::ptr_eq(bell, &self.bell)) {
            bells.swap_remove(index);
        }
    }
}

impl Outside {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks `question`, or waits with others who did. `bell` rings when the answer is there.
    pub(crate) fn ask(
        &self,
        question: Question,
        bell: &Arc<Bell>,
        (entropy, verdicts): (&Entropy, &Verdicts),
        now: Now,
    ) -> Asked {
        let key = question.key(entropy);
        let (waiting, keeper) = {
            let mut table = self.table();
            let flight = match table.flights.get(&key) {
                Some(flight) => Arc::clone(flight),
                None => {
                    // Under the lock: an answer is kept before its flight ends.
                    if let Some(answer) = question.known(key, verdicts, now) {
                        return Asked::Now(Ok(answer));
                    }
                    match table.open(key, question) {
                        Some(flight) => flight,
                        None => return Asked::Now(Err(Fault::Busy)),
                    }
                }
            };
            flight
                .bells
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Arc::clone(bell));
            let waiting = Waiting {
                flight,
                bell: Arc::clone(bell),
            };
            (waiting, table.keeper.clone())
        };
        if let Some(keeper) = keeper {
            keeper.ring();
        }
        Asked::Later(waiting)
    }

    /// Asks `question` for nobody in particular, unless somebody asks it already.
    pub(crate) fn ask_for_all(&self, question: Question, entropy: &Entropy) {
        let key = question.key(entropy);
        let mut table = self.table();
        if !table.flights.contains_key(&key) {
            // A full verifier is asked the next time.
            let _ = table.open(key, question);
        }
    }

    /// Makes `bell` the one that rings when there is something to ask.
    pub(crate) fn set_keeper(&self, bell: &Arc<Bell>) {
        self.table().keeper = Some(Arc::clone(bell));
    }

    /// Takes the next question to go out with.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Errand> {
        let (key, question) = self.table().waiting.pop_front()?;
        Some(Errand {
            outside: Arc::clone(self),
            key,
            question,
            ended: false,
        })
    }

    /// Returns how many wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        let table = self.table();
        let waiting =
            |flight: &Arc<Flight>| flight.bells.lock().unwrap_or_else(PoisonError::into_inner).len();
        table.flights.values().map(waiting).sum()
    }

    fn end(&self, key: Key, question: &Question, answer: Result<Answer, Fault>) {
        let flight = {
            let mut table = self.table();
            let (callee, _) = question.callee();
            if let Some(open) = table.open.get_mut(&callee) {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    table.open.remove(&callee);
                }
            }
            table.flights.remove(&key)
        };
        let Some(flight) = flight else { return };
        // Set once: flights end once.
        let _ = flight.answer.set(answer);
        let bells = std::mem::take(&mut *flight.bells.lock().unwrap_or_else(PoisonError::into_inner));
        for bell in bells {
            bell.ring();
        }
    }
}

impl Table {
    fn open(&mut self, key: Key, question: Question) -> Option<Arc<Flight>> {
        let (callee, most) = question.callee();
        let open = self.open.entry(callee).or_default();
        if *open >= most {
            return None;
        }
        *open += 1;
        let flight = Arc::new(Flight::default());
        self.flights.insert(key, Arc::clone(&flight));
        self.waiting.push_back((key, question));
        Some(flight)
    }
}

/// A question on its way. However it ends, whoever waits is told.
#[derive(Debug)]
pub(crate) struct Errand {
    outside: Arc<Outside>,
    key: Key,
    question: Question,
    ended: bool,
}

impl Errand {
    /// Begins to ask.
    pub(crate) fn begin(&self, now: Now) -> Option<Begun> {
        self.question.begin(now)
    }

    /// Says whether it is about keys of which there were none yet.
    pub(crate) fn is_for_first_keys(&self) -> bool {
        match &self.question {
            Question::Keys(keys) => keys.keys().is_none(),
            Question::Token(..) | Question::Password(..) => false,
        }
    }

    /// Hands over what was said. The text returned is for the operator.
    pub(crate) fn end(mut self, said: Result<Said, Fault>, verdicts: &Verdicts, now: Now) -> Vec<String> {
        let (answer, told) = self.question.end(said, (self.key, verdicts), now);
        self.ended = true;
        self.outside.end(self.key, &self.question, answer);
        told
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if !self.ended {
            self.outside
                .end(self.key, &self.question, Err(Fault::Unreachable));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::auth::introspection::{Introspected, Introspection, Settings};
    use crate::auth::jwt;
    use crate::auth::remote::Callee;
    use crate::entropy::Seed;
    use crate::exchange::http::Reply;
    use crate::leg::Destination;
    use crate::secret::Secret;

    struct World {
        outside: Arc<Outside>,
        entropy: Entropy,
        verdicts: Verdicts,
        module: Arc<Introspection>,
    }

    impl World {
        fn new(max_in_flight: usize) -> Self {
            let callee = Callee {
                url: "http://127.0.0.1:1/".parse().unwrap(),
                to: Destination::Tcp {
                    host: "127.0.0.1".into(),
                    port: 1,
                    tls: None,
                },
                shown: String::new(),
            };
            let settings = Settings {
                cache_ttl: Duration::from_secs(60),
                negative_ttl: Duration::from_secs(5),
                timeout: Duration::from_secs(5),
                max_in_flight,
                jwts: false,
                rules: jwt::Rules::default(),
            };
            Self {
                outside: Arc::default(),
                entropy: Entropy::new(&Seed::new([1; 32])),
                verdicts: Verdicts::default(),
                module: Arc::new(Introspection::new(callee, b"", ("c", b"s"), settings)),
            }
        }

        fn ask(&self, token: &str) -> Asked {
            let question = Question::Token(Arc::clone(&self.module), Arc::new(Secret::new(token.to_owned())));
            let means = (&self.entropy, &self.verdicts);
            self.outside.ask(question, &Arc::default(), means, Now::default())
        }

        fn wait(&self, token: &str) -> Waiting {
            match self.ask(token) {
                Asked::Later(waiting) => waiting,
                Asked::Now(answer) => panic!("answered at once: {answer:?}"),
            }
        }
    }

    fn inactive() -> Result<Said, Fault> {
        Ok(Said::Http(Reply {
            status: 200,
            body: br#"{"active":false}"#.to_vec(),
            max_age: None,
        }))
    }

    #[test]
    fn m31_one_question_answers_all_who_ask_it_and_the_next_ones_from_memory() {
        let world = World::new(64);
        let waiting = [world.wait("t"), world.wait("t")];
        let errand = world.outside.take().unwrap();
        assert!(world.outside.take().is_none(), "asked twice");
        assert!(waiting.iter().all(|waiting| waiting.answer().is_none()));
        errand.end(inactive(), &world.verdicts, Now::default());
        for waiting in &waiting {
            assert!(matches!(
                waiting.answer(),
                Some(Ok(Answer::Token(Introspected::Inactive)))
            ));
        }
        assert!(matches!(world.ask("t"), Asked::Now(Ok(_))));
    }

    #[test]
    fn m31_a_question_that_is_lost_is_answered_and_asked_again() {
        let world = World::new(64);
        let waiting = world.wait("t");
        drop(world.outside.take());
        assert!(matches!(waiting.answer(), Some(Err(Fault::Unreachable))));
        assert_eq!(world.outside.waiting(), 0);
        let _waiting = world.wait("t");
        assert!(world.outside.take().is_some());
    }

    #[test]
    fn m31_who_leaves_takes_no_answer_along() {
        let world = World::new(64);
        let (first, second) = (world.wait("t"), world.wait("t"));
        drop(first);
        assert_eq!(world.outside.waiting(), 1);
        let errand = world.outside.take().unwrap();
        errand.end(inactive(), &world.verdicts, Now::default());
        assert!(second.answer().is_some());
    }

    #[test]
    fn e09_questions_are_bounded_for_each_verifier() {
        let world = World::new(2);
        let _waiting = [world.wait("a"), world.wait("b"), world.wait("a")];
        assert!(matches!(world.ask("c"), Asked::Now(Err(Fault::Busy))));
        let errand = world.outside.take().unwrap();
        assert!(
            matches!(world.ask("c"), Asked::Now(Err(Fault::Busy))),
            "asked is not answered"
        );
        drop(errand);
        let _third = world.wait("c");
        assert!(matches!(world.ask("d"), Asked::Now(Err(Fault::Busy))));
    }
}
