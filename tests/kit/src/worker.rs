//! The process that the cases kill and race: the test program itself, started again with another first argument.
//!
//! A [`Task`] goes in as an argument, an [`Answer`] comes out on standard output. The rigs of the program are known to both
//! sides, so that a store of somebody else needs no program of its own for this.

use std::any::Any;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keiki_core::context::Context;
use keiki_core::volume::Properties;
use keiki_core::{Error, ErrorKind, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use serde::{Deserialize, Serialize};

use crate::random::Random;
use crate::rig::{Filler, Ground, Missing, Rig};
use crate::steps::AtStep;
use crate::verdict::{Failure, Verdict};
use crate::yard::{Idle, Op, PATIENCE, Yard};

/// The argument that makes the test program a worker.
const WORD: &str = "--keiki-kit-worker";

/// What a worker is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// The rig, by its name.
    pub rig: String,
    /// The ground's directory.
    pub root: PathBuf,
    /// The ground's options.
    pub options: Properties,
    /// The work.
    pub work: Work,
}

/// The work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Work {
    /// One operation, disturbed at a step if that is asked for.
    Op {
        /// The operation.
        op: Op,
        /// What happens at which step.
        disturbance: Option<(Disturbance, usize)>,
    },
    /// Random operations on a few names.
    Stress {
        /// Where the random numbers begin.
        seed: u64,
        /// How many operations.
        operations: usize,
    },
    /// Holds the right to start a container until standard input ends.
    Hold {
        /// The container.
        name: String,
    },
}

/// What happens at a step of a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Disturbance {
    /// The worker is killed.
    Kill,
    /// The pool is full until the worker ends.
    Full,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done; how many operations succeeded.
    Done(usize),
    /// Refused or failed, with the kind's name and the message.
    Failed(String, String),
    /// The right to start is held.
    Held,
}

impl Task {
    /// Returns a task on a ground.
    #[must_use]
    pub fn on(rig: &dyn Rig, ground: &Ground, work: Work) -> Self {
        Self { rig: rig.name(), root: ground.root().to_owned(), options: ground.options().clone(), work }
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(&self) -> Verdict<Worker> {
        let child = Command::new(std::env::current_exe()?)
            .arg(WORD)
            .arg(serde_json::to_string(self)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Worker { child })
    }
}

/// A worker that was started; killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
}

impl Worker {
    /// Returns its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end; `None` when it was killed as the kill cases do it.
    ///
    /// # Errors
    /// An answer that is none, and an end by any other signal than `SIGKILL`.
    pub fn finish(self) -> Verdict<Option<Answer>> {
        Ok(self.finish_with_words()?.0)
    }

    /// Waits for the end and returns what was written to standard error, too.
    ///
    /// # Errors
    /// As [`Self::finish`].
    pub fn finish_with_words(mut self) -> Verdict<(Option<Answer>, String)> {
        drop(self.child.stdin.take());
        let (mut text, mut words) = (String::new(), String::new());
        if let Some(mut output) = self.child.stdout.take() {
            io::Read::read_to_string(&mut output, &mut text)?;
        }
        if let Some(mut errors) = self.child.stderr.take() {
            io::Read::read_to_string(&mut errors, &mut words)?;
        }
        let status = self.child.wait()?;
        match std::os::unix::process::ExitStatusExt::signal(&status) {
            None => {}
            Some(signal) if signal == Signal::SIGKILL as i32 => return Ok((None, words)),
            // Nobody here sends another: a bug (SIGSEGV, SIGABRT) or a page that could not be written (SIGBUS).
            Some(_) => return Err(Failure::new(format!("the worker broke off: {status}: {words}"))),
        }
        let last = text.lines().last();
        let last = last.ok_or_else(|| Failure::new(format!("the worker said nothing: {status}: {words}")))?;
        Ok((Some(serde_json::from_str(last)?), words))
    }

    /// Waits for the first line that it says.
    ///
    /// # Errors
    /// A line that is no answer.
    pub fn first_answer(&mut self) -> Verdict<Answer> {
        let output = self.child.stdout.as_mut().ok_or_else(|| Failure::new("no output"))?;
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(output), &mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Kills it at once and waits for its end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn kill(mut self) -> Verdict<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Serves one task and returns the exit code, if the program was started for that.
pub fn serve_if_asked(rigs: &[Box<dyn Rig>]) -> Option<u8> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(WORD) {
        return None;
    }
    let task = arguments.next().and_then(|text| serde_json::from_str::<Task>(&text).ok())?;
    let rig = rigs.iter().find(|rig| rig.name() == task.rig)?;
    let answer = match serve(&**rig, &task) {
        Ok(done) => Answer::Done(done),
        Err(error) => Answer::Failed(format!("{:?}", error.kind()), format!("{error:?}")),
    };
    Some(u8::from(say(&answer).is_err()))
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(answer)?)?;
    output.flush()
}

fn serve(rig: &dyn Rig, task: &Task) -> Result<usize> {
    let ground = Ground::of_another(task.root.clone(), task.options.clone());
    let yard = Yard::at(rig, &ground, Arc::new(Idle), PATIENCE)?;
    match &task.work {
        Work::Op { op, disturbance } => {
            let context = match disturbance {
                None => Context::default(),
                Some((Disturbance::Kill, step)) => AtStep::context(*step, |_| die()),
                Some((Disturbance::Full, step)) => filling(*step, rig.filler(&ground)),
            };
            yard.apply(&context, op).map(|()| 1)
        }
        Work::Stress { seed, operations } => stress(&yard, *seed, *operations),
        Work::Hold { name } => {
            let permit = yard.engine.permit_start(&yard.key(name)?)?;
            let io_error = |e| Error::io("the pipe of the worker", e);
            say(&Answer::Held).map_err(io_error)?;
            io::copy(&mut io::stdin().lock(), &mut io::sink()).map_err(io_error)?;
            drop(permit);
            Ok(1)
        }
    }
}

/// Returns the context of an operation before whose step all space of a file system is taken, as long as the context lives.
pub(crate) fn filling(step: usize, fill: Filler) -> Context {
    let taken: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    AtStep::context(step, move |_| {
        let cannot = |missing: Missing| {
            Error::new(ErrorKind::Unavailable, format!("cannot fill the disk: needs {}", missing.0))
        };
        let ballast = fill().map_err(cannot)?;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(ballast);
        Ok(())
    })
}

/// Ends the process as `kill -9` and a power switch do: nothing of ours runs afterwards.
fn die() -> Result<()> {
    let _never = kill(getpid(), Signal::SIGKILL);
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

/// Random operations on a few names, so that workers meet; refusals are part of it, breakage is not.
fn stress(yard: &Yard<'_>, seed: u64, operations: usize) -> Result<usize> {
    let mut random = Random::new(seed);
    let mut succeeded = 0;
    for _ in 0..operations {
        let op = random.op(&["a", "b", "c", "d", "e", "f"], 3);
        match yard.apply(&Context::default(), &op) {
            Ok(()) => succeeded += 1,
            Err(error) if is_a_refusal(error.kind()) => {}
            Err(error) => return Err(error.while_doing(format!("{op:?}"))),
        }
    }
    Ok(succeeded)
}

/// Returns whether a kind is an answer that somebody must expect who is not alone.
#[must_use]
pub fn is_a_refusal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::HasDependents
            | ErrorKind::Busy
            | ErrorKind::Unsupported
            | ErrorKind::LimitExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended_by(signal: &str) -> Worker {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("echo last words >&2; kill -{signal} $$")]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Worker { child: shell.spawn().unwrap() }
    }

    #[test]
    fn only_a_killed_worker_has_no_answer() {
        assert_eq!(ended_by("KILL").finish().unwrap(), None);
        let broken = ended_by("BUS").finish().unwrap_err().to_string();
        assert!(broken.contains("SIGBUS") && broken.contains("last words"), "{broken}");
    }
}
